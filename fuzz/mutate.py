"""Mutations that text formats and byte formats break on."""

import random
import re

NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"-Infinity", b"0", b"-0", b"-1", b"1e308",
    b"1e309", b"-1e400", b"1e-400", b"5e-324", b"1" * 30, b"9" * 400, b"9" * 4500, b"0x10", b"1_0",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1,0,0,0", b"1.2.3",
    b"1e", b".", b"", b"100%", b"1/2", "\u0661\u0662".encode(), "\u00b2".encode(), b"true",
    b"null", b"None", b"1e99999999999", b"0.5", b"0.9999999999999999", b"1e15", b"999999999999999",
)  # fmt: skip
TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b"\x1b[31m", b"\x1b]0;", b"\x07", b"\xff", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"\xff\xfe", "\u2028".encode(), "\u0085".encode(), "\u200b".encode(),
    "\U0001f4a5".encode(), b"<script>document.title='owned'</script>", b"</title>", b"'\"><img>",
    b"{", b"}", b"[", b"]", b"[[[[[[[[", b"{\"a\":" * 40, b",", b";", b":", b"=", b"|", b"\"", b"'",
    b"\\", b"%", b"(", b")", b"/", b"-", b"&", b"#", b" " * 300, b"a" * 3000, b"a " * 800,
    b"1," * 500, b"((((((((", b"Epoch 1/5\n", b"Epoch 1/5 - Step: 1/9 ", b"[0/5][1/9]\t",
    b"[Epoch 0/2] [Batch 1/3] ", b"<epoch: 1, iter: 10,", b"[epoch:  0, iter:   1,000, lr:",
    b"(epoch: 1, iters: 100, ", b"Loss_D: ", b"Loss G: ", b"D(x): ", b"D(G(z)): 0.1 / 0.2",
    b"g_loss", b"d_loss=", b"step", b"epoch", b"acc", b"l_g_pix: ", b"out_d_real: ",
    b"Progress/kimg", b"Loss/D/loss", b"\"mean\":", b"non_finite", b"g_terms", b"\"action\": 1",
    b"[bold]", b"[/]", b"{{7*7}}", b"%s%n", b"../../x", b"nan%", b"step,d_loss,g_loss\n1,2,3\n",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d[\d.,]*(?:[eE][-+]?\d+)?")


def mutated(
    data: bytes, other: bytes, source: random.Random, most_bytes: int, tokens: tuple[bytes, ...]
) -> bytes:
    """`data` after a few random changes; `other` is what parts are spliced in from."""
    for _ in range(source.choice((0, 1, 1, 2, 2, 3, 5, 8, 20))):
        data = source.choice(_CHANGES)(data, other, source, tokens)
        if len(data) > most_bytes:
            start = source.randrange(len(data) - most_bytes + 1)
            data = data[start : start + most_bytes] if source.random() < 0.3 else data[:most_bytes]
    return data


def _span(data: bytes, source: random.Random, most: int = 200) -> tuple[int, int]:
    start = source.randrange(len(data) + 1)
    return start, min(len(data), start + source.randrange(1, most))


def _flip(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 8))):
        changed[source.randrange(len(data))] = source.randrange(256)
    return bytes(changed)


def _insert(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    at, _ = _span(data, source)
    return data[:at] + source.choice(tokens) + data[at:]


def _replace(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    start, end = _span(data, source, 12)
    return data[:start] + source.choice(tokens) + data[end:]


def _delete(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    start, end = _span(data, source)
    return data[:start] + data[end:]


def _repeat(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    start, end = _span(data, source)
    times = source.choice((2, 3, 10, 100))
    return data[:start] + data[start:end] * times + data[end:]


def _truncate(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _splice(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    return data[: source.randrange(len(data) + 1)] + other[source.randrange(len(other) + 1) :]


def _lines(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    kind = source.randrange(4)
    if kind == 0:
        source.shuffle(lines)
    elif kind == 1:
        lines.insert(source.randrange(len(lines) + 1), source.choice(lines))
    elif kind == 2:
        del lines[source.randrange(len(lines))]
    else:
        lines = lines * source.choice((2, 5))
    return b"".join(lines)


def _number(data: bytes, other: bytes, source: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    matches = list(_NUMBER.finditer(data))
    if not matches:
        return data
    if source.random() < 0.2:  # every number of the input, one in a few of them
        share = source.random()
        return _NUMBER.sub(
            lambda m: source.choice(NUMBERS) if source.random() < share else m[0], data
        )
    match = source.choice(matches)
    return data[: match.start()] + source.choice(NUMBERS) + data[match.end() :]


_CHANGES = (
    _flip, _insert, _insert, _replace, _delete, _repeat, _truncate, _splice, _lines, _lines,
    _number, _number, _number, _number,
)  # fmt: skip
