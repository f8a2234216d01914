"""Two methods on the same images."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from counterpoise.errors import UserError
from counterpoise.evaluate.comparison import differences_between, read_csv
from counterpoise.evaluate.scores import Scores, write_csv


def scores(name, **columns):
    count = len(next(iter(columns.values())))
    rows = [(f"{i}.png", {k: v[i] for k, v in columns.items()}) for i in range(count)]
    return Scores(name, rows)


def test_paired_difference_against_scipy():
    random = np.random.default_rng(0)
    content = random.normal(28, 4, 20)  # images differ far more than methods do
    a, b = content, content + random.normal(0.3, 0.2, 20)
    (found,) = differences_between(scores("a", psnr_y=a), scores("b", psnr_y=b))
    expected = bootstrap(
        (b - a,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.difference.mean == pytest.approx((b - a).mean())
    assert found.difference.interval.low == pytest.approx(expected.low, abs=0.005)
    assert found.difference.interval.high == pytest.approx(expected.high, abs=0.005)
    assert found.verdict == "B is better"
    assert found.b_wins == (b > a).sum()


@pytest.mark.parametrize(
    ("name", "step", "verdict"),
    [
        ("psnr_y", [1] * 8, "B is better"),
        ("rmse", [1] * 8, "A is better"),
        ("rmse", [0] * 8, "equal"),
        ("rmse", [1, -1] * 4, "not told apart"),
        ("rmse", [1], "not told apart"),
    ],
)
def test_verdicts(name, step, verdict):
    a = np.arange(float(len(step)))
    (found,) = differences_between(scores("a", **{name: a}), scores("b", **{name: a + step}))
    assert found.verdict == verdict
    assert (found.difference.interval is None) == (len(step) == 1)


def test_images_are_paired_by_name_and_what_is_not_finite_is_left_out():
    a = scores("a", psnr_y=[1.0, 2.0, 3.0, 4.0], rmse=[1.0, 1.0, 1.0, 1.0])
    b = scores("b", psnr_y=[2.0, np.inf, np.nan, 5.0], rmse=[2.0, 2.0, 2.0, 2.0])
    b.rows = [*b.rows[::-1], ("other.png", {"psnr_y": 9.0, "rmse": 9.0})]
    psnr, rmse = differences_between(a, b)
    assert (psnr.difference.count, psnr.difference.mean) == (2, 1.0)
    assert rmse.difference.count == 4


def test_nothing_in_common():
    a = scores("a", rmse=[1.0])
    with pytest.raises(UserError, match="no image in common"):
        differences_between(a, Scores("b", [("x", {"rmse": 1.0})]))
    with pytest.raises(UserError, match="no metric in common"):
        differences_between(a, scores("b", psnr_y=[1.0]))


def test_csv_comes_back_as_it_was_written(tmp_path):
    a = scores("mine", psnr_y=[28.123456, 30.0], ms_ssim=[np.nan, 0.9])
    plain = scores("bicubic (bicubic LR)", psnr_y=[27.0, 29.0], ms_ssim=[np.nan, 0.8])
    write_csv(tmp_path / "s.csv", {"Set5": [plain, a]})
    read = read_csv(tmp_path / "s.csv")["Set5"]
    assert read.method == "mine"
    assert [name for name, _ in read.rows] == ["0.png", "1.png"]
    assert read.values("psnr_y").tolist() == [28.123456, 30.0]
    assert np.isnan(read.values("ms_ssim")[0])
    other = read_csv(tmp_path / "s.csv", "bicubic (bicubic LR)")["Set5"]
    assert other.values("psnr_y").tolist() == [27.0, 29.0]


def test_a_csv_of_another_program(tmp_path):
    (tmp_path / "theirs.csv").write_text("image,psnr_y,vif\na.png,28,0.5\n")
    read = read_csv(tmp_path / "theirs.csv")
    assert read[""].method == "theirs"
    assert read[""].rows == [("a.png", {"psnr_y": 28.0})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,psnr_y\na,1\n", "needs a column `image`"),
        ("image,vif\na,1\n", "columns named as metrics"),
        ("image,psnr_y\na,high\n", "line 2 has a value that is not a number"),
        ("image,psnr_y\na,1\na,2\n", "line 3 has image a a second time"),
        ("method,image,psnr_y\nm,a,1\nn,a,1\n", "say which: .*:METHOD"),
        ("image,psnr_y\n", "has no rows"),
    ],
)
def test_wrong_csv_files(tmp_path, text, expected):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_csv(tmp_path / "s.csv")


def test_missing_method_and_file_and_a_pipe(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "s.csv").write_text("image,psnr_y\na,1\n")
    with pytest.raises(UserError, match="no method 'x' in it"):
        read_csv(tmp_path / "s.csv", "x")
