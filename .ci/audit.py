"""What the project depends on, whether that is known to be vulnerable, and whether secrets leaked.

    python .ci/audit.py        (make audit)

Writes `build/sbom.json` (CycloneDX: every package of this environment, with licences). Ends with 1
where a package is known to be vulnerable or a file holds what looks like a secret. Where the
database of vulnerabilities cannot be reached that is said, with how many packages went unchecked:
nothing is called safe that was not looked at.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
SBOM = ROOT / "build" / "sbom.json"
AUDIT_SECONDS = 300
# Numbers that we made ourselves, a lot of them, pictures, and commits of public repositories.
NO_SECRETS_IN = re.compile(
    r"^(corpus/(tuning|held-out)|studies/results)/|\.(png|jpg|webp|npz)$|/real_runs\.toml$"
)


def main() -> int:
    """Run all three; the exit code."""
    failed = not vulnerabilities()
    failed = not secrets() or failed
    bill_of_materials()
    return 1 if failed else 0


def vulnerabilities() -> bool:
    """Ask PyPI's database about each package of the lock; False where one is vulnerable."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--format", "json"]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = run(command, AUDIT_SECONDS)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, subprocess.TimeoutExpired) as error:
        why = last_line(done.stderr) if not isinstance(error, subprocess.TimeoutExpired) else error
        say("vulnerabilities", f"NOT CHECKED: the database is not reachable ({why})")
        return True
    checked = [package for package in found if "vulns" in package]
    skipped = [package for package in found if "vulns" not in package]
    vulnerable = [package for package in checked if package["vulns"]]
    if not checked:
        why = Counter(package["skip_reason"].partition(":")[0] for package in skipped)
        say(
            "vulnerabilities",
            f"NOT CHECKED: the database answered for none of {len(skipped)} packages "
            f"({why.most_common(1)[0][0]}): it is not reachable from here",
        )
        return True
    say("vulnerabilities", f"{len(checked)} of {len(found)} packages of the lock checked")
    if skipped:
        names = ", ".join(package["name"] for package in skipped)
        say("vulnerabilities", f"NOT CHECKED, since the database has no answer: {names}")
    for package in vulnerable:
        for item in package["vulns"]:
            fixed = ", ".join(item["fix_versions"]) or "no version yet"
            say(
                "VULNERABLE",
                f"{package['name']} {package['version']}: {item['id']}, fixed in {fixed}",
            )
    return not vulnerable


def secrets() -> bool:
    """Look for keys and passwords in the files of the repository; False where there is one."""
    listed = run(["git", "ls-files", "-z"]).stdout.split("\0")
    files = [name for name in listed if name and not NO_SECRETS_IN.search(name)]
    if not files:
        say("secrets", "NOT CHECKED: git lists no files here")
        return False
    done = run([sys.executable, "-m", "detect_secrets", "scan", *files])
    found = json.loads(done.stdout)["results"]
    for name, places in sorted(found.items()):
        for place in places:
            say("SECRET", f"{name}:{place['line_number']}: looks like: {place['type']}")
    say("secrets", f"{len(files)} files scanned, {sum(map(len, found.values()))} found")
    return not found


def bill_of_materials() -> None:
    """Write the SBOM of this environment."""
    SBOM.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(SBOM)]
    done = run([*command, sys.executable])
    if done.returncode:
        raise SystemExit(f"audit: the SBOM was not written: {last_line(done.stderr)}")
    components = json.loads(SBOM.read_text(encoding="utf-8"))["components"]
    say("bill of materials", f"{len(components)} packages in {SBOM.relative_to(ROOT)}")


def run(command: list[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """A command's output, whatever its exit code."""
    return subprocess.run(  # noqa: S603
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
    )


def last_line(text: str) -> str:
    """What a program said last, which is mostly why it ended."""
    return (text.strip().splitlines() or ["it said nothing"])[-1][:300]


def say(what: str, text: str) -> None:
    """A line of the report."""
    print(f"audit: {what}: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
