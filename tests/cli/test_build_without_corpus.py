"""`mosei-ssl build` without anything to build from."""

from mosei_ssl.cli import main


def test_without_a_corpus_one_line_says_how_to_name_one(tmp_path, capsys):
    for folds in ([], ["--folds", "folds.json"]):
        assert main(["build", "--data-dir", str(tmp_path / "data"), *folds]) == 2
        captured = capsys.readouterr()
        assert "--manual-dir" in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        assert not (tmp_path / "data").exists()
