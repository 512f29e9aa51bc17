"""Spreadsheets of labels for recordings, and folds of their speakers."""

import codecs
import csv
import datetime
from itertools import pairwise

import openpyxl
import pandas
import pytest

from mosei_ssl.cli import main
from mosei_ssl.corpus.label_table import read_labels
from mosei_ssl.corpus.recordings import video_ids
from mosei_ssl.corpus.speaker_folds import speaker_disjoint_folds, speaker_groups
from mosei_ssl.utils.errors import UserError


def write(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table_of_a_build_serves_recordings_too(tmp_path, caplog):
    """In the spellings, with the delimiter and the unused columns that other tables have."""
    from tfds_mosei.labels import labels_from_csv

    text = "Video ID;Start_Time;END;Happiness;sadness;Angry;Surprise;Disgust;Fear;Text;Speaker\n"
    text += "b;0,x;1;0;0;0;0;0;0;um;s\n".replace("0,x", "0.5")
    text += 'a;1.5;2;2.5;0;0;0;0;1;"so; yes";s\n'
    path = write(tmp_path, text)
    recordings = [tmp_path / "a.wav", tmp_path / "b.wav"]
    table = read_labels(path, recordings)
    built = labels_from_csv(path)
    for recording in recordings:
        (segment,) = table.segments[recording]
        labels = built[recording.stem]
        assert (segment.start, segment.end) == tuple(labels.intervals[0])
        assert segment.values[1:] == tuple(labels.values[0, 1:])
    assert "columns not used: 'Text'" in caplog.text


LAYOUTS = {
    "graded": "File;HAPPINESS;Angry;speaker\nx_a.wav;2;0;X\nx_b.wav;2;2;X\ny_c.wav;0;0;Y\n",
    "present": "filename,happy,anger,neutral\nx_a,1,0,0\nx_b,1,1,0\ny_c,0,0,1\n",
    "long": "file\temotion\tintensity\nx_a\tJoy\t2\nx_b\thappy\t\nx_b\tangry\t2\ny_c\tcalm\t\n",
    "codes": "file,emotion,intensity\nx_a,HAP,2\nx_b,hap,2\nx_b,Ang,2\ny_c,NEU,\n",
    "and": "file,emotion\nx_a,happy\nx_b,Happy and Angry\ny_c,neutral\n",
    "&": "file,emotion\nx_a,happy\nx_b,anger & happy\ny_c,neutral\n",
    "label": 'file,Label\nx_a.wav,joy\nx_b.wav,"Happy, Anger"\ny_c.wav,Neutral\n',
}


@pytest.mark.parametrize("layout", [*LAYOUTS, "xlsx", "folders"])
def test_every_layout_gives_the_same_labels(tmp_path, caplog, layout):
    caplog.set_level("INFO")
    folders = {"x_a": "Happy", "x_b": "anger", "y_c": "neutral"}
    recordings = [tmp_path / folder / f"{name}.wav" for name, folder in folders.items()]
    expected = [(0, 2, 0, 0, 0, 0, 0), (0, 2, 0, 2, 0, 0, 0), (0,) * 7]
    if layout == "folders":  # one folder, one emotion; recordings may be links
        path, expected[1] = tmp_path, (0, 0, 0, 2, 0, 0, 0)
        for recording in recordings:
            recording.parent.mkdir()
            recording.symlink_to("/dev/null")
    elif layout == "xlsx":
        book = openpyxl.Workbook()
        for row in csv.reader(LAYOUTS["graded"].splitlines(), delimiter=";"):
            book.active.append([int(cell) if cell.isdecimal() else cell for cell in row])
        book.active.append([None] * 3)
        path = tmp_path / "labels.xlsx"
        book.save(path)
    else:
        path = write(tmp_path, LAYOUTS[layout])
    table = read_labels(path, recordings, speaker_from="^([a-z]+)_")
    assert [table.segments[recording][0].values for recording in recordings] == expected
    assert [table.speakers[recording] for recording in recordings] == [{"x"}, {"x"}, {"y"}]
    happy = 1 if layout == "folders" else 2
    assert f"3 segments of 3 recordings: happy {happy}, sad 0, anger 1" in caplog.text
    assert "no emotion 1" in caplog.text
    assert "not used" not in caplog.text


def test_present_means_what_is_asked_for(tmp_path):
    recordings = [tmp_path / f"x_{name}.wav" for name in "ab"]
    for text in ("file,happy,sad\nx_a,1,0\nx_b,0,1\n", "file,emotion\nx_a,joy\nx_b,sad\n"):
        path = write(tmp_path, text)
        table = read_labels(path, recordings, present_level=3)
        assert [table.segments[r][0].values[1:3] for r in recordings] == [(3, 0), (0, 3)]
    with pytest.raises(UserError, match="present-level is 4"):
        read_labels(path, recordings, present_level=4)


@pytest.mark.parametrize(
    ("values", "warned"), [("0.2,1", True), ("0.3,", True), ("0.2,2", False), ("0,1", False)]
)
def test_shares_are_warned_of(tmp_path, caplog, values, warned):
    path = write(tmp_path, f"file,happy,sad,sentiment\na.wav,{values},-0.5\n")
    ((segment,),) = read_labels(path, [tmp_path / "a.wav"]).segments.values()
    told = "labels.csv: no emotion is above 1, but intensities go from 0 (absent) to 3"
    assert caplog.text.count(told) == warned
    if warned:
        assert segment.values[1] == float(values[:3])


def test_words_and_codes_of_emotions(tmp_path):
    words = ["happy", "SAD", "ang", "Sur", "DIS", "FEA", "Scared", "sad, angry, and scared"]
    text = "".join(f'{k}.wav,"{word}"\n' for k, word in enumerate(words))
    recordings = [tmp_path / f"{k}.wav" for k in range(len(words))]
    table = read_labels(write(tmp_path, "file,emotion\n" + text), recordings)
    found = [table.segments[path][0].values[1:] for path in recordings]
    assert found[:6] == [tuple(2.0 * (k == j) for j in range(6)) for k in range(6)]
    assert found[6:] == [(0, 0, 0, 0, 0, 2), (0, 2, 2, 0, 0, 2)]


@pytest.mark.parametrize("word", ["bored", "Contempt"])
def test_what_to_do_with_other_emotions_is_said(tmp_path, word):
    told = f"line 2: the emotion is '{word}', .* recordings without labels serve for pretraining$"
    with pytest.raises(UserError, match=told):
        read_labels(write(tmp_path, f"file,emotion\na.wav,{word}\n"), [tmp_path / "a.wav"])


@pytest.mark.parametrize("columns", ["Path,Actor", "file_path,Speaker ID", "Audio,participant_id"])
def test_recordings_and_speakers_are_known_under_other_names(tmp_path, columns):
    recordings = [tmp_path / "a.wav", tmp_path / "b.wav"]
    path = write(tmp_path, f"{columns},Emotions\na.wav,7,sad\nb.wav,07,joy\n")
    table = read_labels(path, recordings)
    assert [table.speakers[recording] for recording in recordings] == [{"7"}, {"7"}]


@pytest.mark.parametrize("columns", ["Onset,Offset", "start_sec,End time (s)", "Begin Time,stop"])
def test_times_are_known_under_other_names(tmp_path, columns):
    path = write(tmp_path, f"file,{columns},emotion\na.wav,1,2,sad\na.wav,2,3,joy\n")
    ((one, two),) = read_labels(path, [tmp_path / "a.wav"]).segments.values()
    assert [(s.start, s.end) for s in (one, two)] == [(1, 2), (2, 3)]


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_times_may_be_minutes_and_seconds(tmp_path, ending):
    times = ["0:05", "0:05.5", "01:10", "61:10", "1:01:11", "01:02:00.25"]
    rows = [("file", "start", "end", "happy")]
    rows += [("a.wav", *pair, "1") for pair in pairwise(times)]
    path = tmp_path / f"labels.{ending}"
    if ending == "csv":
        write(tmp_path, "\n".join(map(",".join, rows)))
    else:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
    (segments,) = read_labels(path, [tmp_path / "a.wav"]).segments.values()
    assert [s.start for s in segments] == [5, 5.5, 70, 3670, 3671]
    assert segments[-1].end == 3720.25


@pytest.mark.parametrize("time", ["0:5", "0:60", "1:75:00", "0:05 min", "-0:05"])
def test_what_is_no_time_is_no_number(tmp_path, time):
    path = write(tmp_path, f"file,start,happy\na.wav,{time},1\n")
    with pytest.raises(UserError, match=f"line 2: start is '{time}', not a number"):
        read_labels(path, [tmp_path / "a.wav"])


@pytest.mark.parametrize(
    "cell", [datetime.time(0, 5), datetime.timedelta(minutes=5)], ids=["time", "duration"]
)
def test_a_time_of_day_is_refused_with_the_reason(tmp_path, cell):
    """What was typed as 0:05 would be taken for five minutes."""
    book = openpyxl.Workbook()
    book.active.append(["file", "start", "happy", "taken at"])
    book.active.append(["a.wav", cell, 1, datetime.time(12, 30)])
    book.save(tmp_path / "labels.xlsx")
    with pytest.raises(UserError, match=r"start is .*0:05:00.* five minutes of a day\. Write"):
        read_labels(tmp_path / "labels.xlsx", [tmp_path / "a.wav"])
    book.active.delete_rows(2)
    book.active.append(["a.wav", 0.5, 1, datetime.time(12, 30)])
    book.save(tmp_path / "labels.xlsx")
    read_labels(tmp_path / "labels.xlsx", [tmp_path / "a.wav"])


@pytest.mark.parametrize("columns", ["start_ms,end_ms", "start,end_ms", "start,Duration"])
def test_no_time_is_lost_in_a_column_that_is_not_used(tmp_path, columns):
    """Each row's emotion would else be that of the whole recording."""
    path = write(tmp_path, f"file,{columns},emotion\na.wav,1,2,sad\na.wav,2,3,joy\n")
    with pytest.raises(UserError, match=f"'{columns.split(',')[1]}' would not be used"):
        read_labels(path, [tmp_path / "a.wav"])


def test_a_table_may_tell_how_long_recordings_are(tmp_path, caplog):
    path = write(tmp_path, "file,duration,timestamp,emotion\na.wav,1.5,2026-11-29,sad\n")
    read_labels(path, [tmp_path / "a.wav"])
    assert "columns not used: 'duration', 'timestamp'" in caplog.text
    path = write(tmp_path, "file,start,end,start_frame,start_date,emotion\na.wav,0,1,0,2026,sad\n")
    read_labels(path, [tmp_path / "a.wav"])
    assert "columns not used: 'start_frame', 'start_date'" in caplog.text


@pytest.mark.parametrize("column", ["anger_score", "contempt", "Boredom", "Label"])
def test_no_emotion_is_lost_in_a_column_that_is_not_used(tmp_path, column):
    path = write(tmp_path, f"file,happy,{column}\na.wav,1,1\n")
    with pytest.raises(UserError, match=f"'{column}' would not be used"):
        read_labels(path, [tmp_path / "a.wav"])


def test_all_mistakes_are_named_at_once(tmp_path):
    text = "file,emotion\na.wav,happy\nz.wav,sad\nb.wav,ecstatic\n" + "q.wav,sad\n" * 30
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    with pytest.raises(UserError) as error:
        read_labels(write(tmp_path, text), paths)
    lines = str(error.value).splitlines()
    assert "line 3: 'z.wav' is not one of the 3" in lines[0]
    assert "line 4: the emotion is 'ecstatic'" in lines[1]
    assert lines[-1] == "and 12 more"


@pytest.mark.parametrize("pattern", ["(", "[a-z]+_"])
def test_a_pattern_that_finds_no_speaker_is_refused(tmp_path, pattern):
    path = write(tmp_path, "file,happy\na.wav,1\n")
    with pytest.raises(UserError, match="--speaker-from"):
        read_labels(path, [tmp_path / "a.wav"], speaker_from=pattern)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no column names the recordings \(file, .*\): .* columns file and any of happy"),
        ("clip,happy\na,1\n", r"'clip,happy'; no column names the recordings \(file, filename, p"),
        ("file,start\na.wav,1\n", "no emotion among its columns .*, fear, or emotion"),
        ("file,happy,Happy\na.wav,1,1\n", "twice"),
        ("file,happy\n", "no rows"),
        ("file,happy\nz.wav,1\n", "line 2: 'z.wav' is not one of the 3"),
        ("file,happy\na.wav,1\n,2\n", "line 3: the column 'file' is blank"),
        ("file,happy\na.wav,very\n", "line 2: happy is 'very'"),
        ("file,happy\na.wav,4\n", "outside 0 to 3"),
        ("file,start,end,happy\na.wav,2,1,1\n", "end 1 is not after start 2"),
        ("file,happy\na.wav,nan\n", "outside"),
        ("file,happy\na.wav,1,5\n", "line 2: 3 cells, but 2 columns .*: write decimals with a po"),
        ("file;happy\na.wav;1;5\n", "line 2: 3 cells, but 2 columns in the header: put text"),
        ("file,start,happy,speaker\na.wav,0,1,5,\n", "line 2: 5 cells, but 4 columns"),
        ("file,happy,speaker,,\na.wav,1,5,anna,\n", "line 2: 5 cells, but 3 columns"),
        ('file,happy,speaker\na.wav,1,x\nb.wav,1,"y\nc.wav,1,z\n', "line 3: .* quote"),
        ('file,happy,speaker\na.wav,1,"x\nb.wav,1,"y"\n', "line 2: .* quote"),
        ('file,happy,speaker\na.wav,1,"x\nb.wav,1,"\n', "line 2: speaker .* quote"),
        ("file,happy\n\na.wav,1\n\nb.wav,9\n", "line 5: happy"),
        (
            "file,happy\na.wav,1\nb.wav,1\na.wav,2\n",
            "line 4: the labels differ from .* line 2",
        ),
        ("file,happy\na.2,1\n", "'a.2' is not one of"),
    ],
)
def test_label_mistakes_are_pointed_at(tmp_path, text, message):
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    with pytest.raises(UserError, match=message):
        read_labels(write(tmp_path, text), paths)


def test_labels_may_use_semicolons_and_names_without_ending(tmp_path):
    paths = [tmp_path / name for name in ("a.wav", "b.wav")]
    table = read_labels(write(tmp_path, "\ufeffFile;Happy;speaker\na;1.5;x\nb.wav;;y\n"), paths)
    assert table.segments[paths[0]][0].values == (0, 1.5, 0, 0, 0, 0, 0)
    assert table.segments[paths[1]][0].end == float("inf")
    assert table.speakers[paths[1]] == {"y"}


WRITTEN = {
    "commas in decimals": (";", "", "utf-8"),
    "Unicode Text": ("\t", "", "utf-16"),
    "CSV of Excel": (";", "", "cp1252"),
    "separator said": ("|", "sep=|\r\n", "utf-8-sig"),
    "separator said in another encoding": (";", "SEP=;\r\n", "cp1252"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_what_spreadsheets_write_is_read(tmp_path, caplog, how):
    separator, said, encoding = WRITTEN[how]
    rows = ["Datei,file,start,end,happy,speaker", "1,Jürgen.wav,0@5,2@25,1@5,Jürgen"]
    rows = [row.replace(",", separator).replace("@", ",") for row in [*rows, ""]]
    path = tmp_path / "labels.csv"
    path.write_bytes((said + "\r\n".join(rows)).encode(encoding))
    recording = tmp_path / "Jürgen.wav"
    table = read_labels(path, [recording])
    ((segment,),) = table.segments.values()
    assert (segment.start, segment.end, segment.values[1]) == (0.5, 2.25, 1.5)
    assert segment.line == 2 + bool(said)
    assert table.speakers == {recording: {"jürgen"}}
    warned = [r for r in caplog.records if "labels.csv is not in UTF-8" in r.message]
    assert len(warned) == (encoding == "cp1252")


def test_a_comma_that_separates_is_not_for_decimals(tmp_path):
    with pytest.raises(UserError, match="line 2: happy is '0,5', not a number"):
        read_labels(write(tmp_path, 'file,happy\na.wav,"0,5"\n'), [tmp_path / "a.wav"])


def test_errors_speak_of_encodings_only_where_these_are_the_reason(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv: cannot be read \(No such file [^)]*\)\.$"):
        read_labels(tmp_path / "labels.csv", [])
    for name, told in (("a.xls", "save it as .xlsx or .csv.$"), ("a.csv", "Save a table as UTF-8")):
        (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99))
        with pytest.raises(UserError, match=told):
            read_labels(tmp_path / name, [])


def workbook(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_the_sheet_of_labels_need_not_be_the_first(tmp_path, caplog):
    caplog.set_level("INFO")
    labels = [["file", "happy"], ["a.wav", 2]]
    codes = [["emotion", "meaning"], ["happy", "smiles"]]
    path = workbook(tmp_path / "a.xlsx", About=[["Our study"]], Labels=labels, Codes=codes)
    ((segment,),) = read_labels(path, [tmp_path / "a.wav"]).segments.values()
    assert segment.values[1] == 2
    assert "a.xlsx: the sheet 'Labels' is read, since the first has no known" in caplog.text
    path = workbook(tmp_path / "b.xlsx", Labels=labels, More=[*labels[:1], ["b.wav", 3]])
    assert len(read_labels(path, [tmp_path / "a.wav", tmp_path / "b.wav"]).segments) == 1


@pytest.mark.parametrize("others", [{}, {"B": [["file", "sad"]], "C": [["file", "sad"]]}])
def test_the_sheet_and_row_without_known_columns_are_named(tmp_path, others):
    path = workbook(tmp_path / "a.xlsx", Notes=[["Our study"], ["file", "sad"]], **others)
    told = r"a\.xlsx, sheet 'Notes', row 1: its first line is 'Our study,'; no column names the r"
    with pytest.raises(UserError, match=told):
        read_labels(path, [tmp_path / "a.wav"])


def test_ids_of_recordings_with_equal_names_are_found(tmp_path):
    """As `select` writes them, and predictions."""
    paths = [tmp_path / folder / "talk.wav" for folder in "ab"]
    ids = video_ids(paths)
    text = "file,happy\n" + "".join(f"{ids[path]},{k + 1}\n" for k, path in enumerate(paths))
    table = read_labels(write(tmp_path, text), paths)
    assert [table.segments[path][0].values[1] for path in paths] == [1, 2]
    with pytest.raises(UserError, match=r"'talk' may be .*a/talk.wav and .*b/talk.wav: write more"):
        read_labels(write(tmp_path, "file,happy\ntalk,1\n"), paths)


def test_paths_written_on_windows_are_found(tmp_path):
    paths = [tmp_path / name for name in ("a/1.wav", "a/2.wav", "b/1.wav", "c\\3.wav", "d/3.wav")]
    text = "file,happy,speaker\n"
    for number, name in enumerate(
        [r"a\1.wav", r".\a\2.mp4", r"D:\Data\b\1.wav", r"c\3.wav", r"d\3"]
    ):
        text += f"{name},{number / 2},x\n"
    table = read_labels(write(tmp_path, text), paths)
    assert [table.segments[path][0].values[1] for path in paths] == [0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize("name", [r"x\1.wav", r"C:\1.wav", r"C:\x\1.wav"])
def test_paths_of_windows_are_not_guessed(tmp_path, name):
    with pytest.raises(UserError, match=r"line 2: .* is not one of the 2"):
        read_labels(
            write(tmp_path, f"file,happy\n{name},1\n"), [tmp_path / "a/1.wav", tmp_path / "b/1.wav"]
        )


def test_names_are_found_whatever_the_computer_made_of_them(tmp_path):
    """macOS takes accents apart, Windows knows no capitals, a spreadsheet makes 7 of 007."""
    names = ("Gespra\u0308ch 1.wav", "Talk.WAV", "007.wav", "talk2.wav", "Talk2.wav")
    paths = [tmp_path / "Anna" / name for name in names]
    cells = ("gespr\u00e4ch 1.wav", "talk.wav", "7", "talk2.wav", "/home/me/Anna/Talk2.wav")
    text = "file,happy\n" + "".join(f"{name},{k / 2}\n" for k, name in enumerate(cells))
    table = read_labels(write(tmp_path, text), paths)
    assert [table.segments[path][0].values[1] for path in paths] == [0, 0.5, 1, 1.5, 2]
    with pytest.raises(UserError, match=r"'TALK2' may be .*talk2.wav and .*Talk2.wav: write more"):
        read_labels(write(tmp_path, "file,happy\nTALK2,1\n"), paths)


def test_a_path_of_this_computer_means_no_other_file(tmp_path):
    other = tmp_path / "other" / "Anna" / "a.wav"
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.raises(UserError, match=r"is not one of the 1 audio files given"):
        read_labels(write(tmp_path, f"file,happy\n{other},1\n"), [tmp_path / "Anna" / "a.wav"])


def test_repeated_rows_count_once_with_a_warning(tmp_path, caplog):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    text = "file,start,happy,speaker\na,0,1,x\nb,0,1,x\na.wav,0.0,1.0,y\na,1,1,x\n"
    table = read_labels(write(tmp_path, text), [a, b])
    assert [segment.line for segment in table.segments[a]] == [2, 5]
    assert table.speakers == {a: {"x", "y"}, b: {"x"}}
    assert "1 row(s) repeat an earlier one and count once (labels.csv, line 4)" in caplog.text


def test_empty_columns_at_the_end_are_accepted(tmp_path):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    text = "file,happy,,,\na.wav,1,,,\n,,,,,,\nb.wav,2\n"
    table = read_labels(write(tmp_path, text), [a, b])
    assert [table.segments[path][0].values[1] for path in (a, b)] == [1, 2]


def test_only_endings_of_audio_are_cut_from_names(tmp_path):
    paths = [tmp_path / name for name in ("talk.wav", "talk.3.wav")]
    for ending in (".mp3", ".mp4"):
        table = read_labels(write(tmp_path, f"file,happy\ntalk{ending},1\ntalk.3,2\n"), paths)
        assert [table.segments[path][0].line for path in paths] == [2, 3]
    with pytest.raises(UserError, match=r"line 2: 'talk\.2' is not one of the 2"):
        read_labels(write(tmp_path, "file,happy\ntalk.2,1\n"), paths)


def test_a_speaker_may_be_written_in_several_ways(tmp_path):
    table, paths = make_table(tmp_path, ["Zoë", "zoe\u0308", "ZOË", "zoe"])
    assert speaker_groups(table.speakers, paths) == [paths[:3], paths[3:]]


def test_speakers_stay_on_one_side(tmp_path):
    paths = [tmp_path / f"{k}.wav" for k in range(40)]
    rows = [f"{k}.wav,1,s{k % 9}" for k in range(40)] + ["3.wav,1,s4"]
    table = read_labels(write(tmp_path, "file,sad,speaker\n" + "\n".join(rows)), paths)
    for seed in range(5):
        folds = speaker_disjoint_folds(table, paths, seed)
        speakers = {name: {int(p.stem) % 9 for p in ids} for name, ids in folds.items()}
        for members in speakers.values():
            # Recording 3 has two speakers, 3 and 4: they stay together.
            members |= {3, 4} if members & {3, 4} else set()
        assert sum(map(len, speakers.values())) == 9
        assert sum(map(len, folds.values())) == 40
        assert len(folds["train"]) > len(folds["test"])
    assert speaker_disjoint_folds(table, paths, 3) == speaker_disjoint_folds(table, paths, 3)


def make_table(tmp_path, speakers):
    paths = [tmp_path / f"{k}.wav" for k in range(len(speakers))]
    rows = "\n".join(f"{k}.wav,1,{speaker}" for k, speaker in enumerate(speakers))
    return read_labels(write(tmp_path, "file,sad,speaker\n" + rows), paths), paths


def test_of_two_speakers_one_is_for_training(tmp_path, caplog):
    table, paths = make_table(tmp_path, "aabbabab")
    folds = speaker_disjoint_folds(table, paths)
    sizes = {split: len(ids) for split, ids in folds.items()}
    assert sizes == {"train": 4, "validation": 2, "test": 2}
    trained = {next(iter(table.speakers[path])) for path in folds["train"]}
    tested = {next(iter(table.speakers[p])) for p in folds["validation"] + folds["test"]}
    assert (len(trained), len(trained & tested)) == (1, 0)
    assert "two speakers" in caplog.text


def test_a_lone_recording_of_a_second_speaker_is_for_training(tmp_path):
    table, paths = make_table(tmp_path, "aaab")
    folds = speaker_disjoint_folds(table, paths)
    assert folds["train"] == [paths[3]]
    assert sorted(folds["validation"] + folds["test"]) == paths[:3]


def test_a_single_speaker_is_divided_with_a_warning(tmp_path, caplog):
    table, paths = make_table(tmp_path, "aaaaa")
    folds = speaker_disjoint_folds(table, paths)
    assert [len(folds[name]) for name in ("train", "validation", "test")] == [3, 1, 1]
    assert "single speaker" in caplog.text


def link(tmp_path, pairs):
    """A table of recordings with two speakers each."""
    paths = [tmp_path / f"{k}.wav" for k in range(len(pairs))]
    rows = [
        f"{k}.wav,{at},1,{name}" for k, pair in enumerate(pairs) for at, name in enumerate(pair)
    ]
    text = "file,start,sad,speaker\n" + "\n".join(rows)
    return read_labels(write(tmp_path, text), paths), paths


def test_speakers_linked_by_recordings_are_not_called_one(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, ["ab", "bc", "cd", "da"]))
    assert all(folds.values())
    assert "4 speakers, but recordings they share link all of them: the same" in caplog.text
    assert "single" not in caplog.text


def test_two_groups_of_speakers_are_not_called_two_speakers(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, ["ab", "ab", "cd", "dc"]))
    assert sorted(map(len, folds.values())) == [1, 1, 2]
    assert "4 speakers, but recordings they share link them into two groups: one" in caplog.text


def test_a_blank_speaker_next_to_a_name_is_not_another_speaker(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, [("a", ""), ("a", ""), ("a", "")]))
    assert all(folds.values())
    assert "a single speaker" in caplog.text


def test_two_recordings_are_too_few(tmp_path):
    table, paths = make_table(tmp_path, "ab")
    with pytest.raises(UserError, match="at least 3"):
        speaker_disjoint_folds(table, paths)


def test_without_speakers_every_file_counts_as_one(tmp_path, caplog):
    paths = [tmp_path / f"{k}.wav" for k in range(5)]
    rows = "\n".join(f"{k}.wav,1" for k in range(5))
    table = read_labels(write(tmp_path, "file,sad\n" + rows), paths)
    folds = speaker_disjoint_folds(table, paths)
    assert [len(folds[name]) for name in ("train", "validation", "test")] == [3, 1, 1]
    assert "names no speaker of 5 recordings" in caplog.text


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_template_is_filled_in_and_read(tmp_path, capsys, ending):
    recordings = [tmp_path / "in" / f"{name}.wav" for name in ("a", "ü")]
    (tmp_path / "in").mkdir()
    for recording in recordings:
        recording.touch()
    sheet = tmp_path / f"sheet.{ending}"
    line = ["labels", str(tmp_path / "in"), "--template", str(sheet)]
    assert main(line) == 0
    assert "2 recordings" in capsys.readouterr().out
    if ending == "csv":
        assert sheet.read_bytes().startswith(codecs.BOM_UTF8)  # else Excel garbles the ü
    with pytest.raises(UserError, match="no emotion is filled in"):
        read_labels(sheet, recordings)
    read, write = ("read_csv", "to_csv") if ending == "csv" else ("read_excel", "to_excel")
    filled = getattr(pandas, read)(sheet)
    filled.loc[0, "sad"] = 3
    getattr(filled, write)(tmp_path / f"filled.{ending}", index=False)
    found = read_labels(tmp_path / f"filled.{ending}", recordings)  # blank is 0
    values = [found.segments[recording][0].values for recording in recordings]
    assert values == [(0, 0, 3, 0, 0, 0, 0), (0,) * 7]
    assert main(line) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*line[:-1], str(tmp_path / "sheet.txt")]) == 2


def sheet(folder, text):
    file = folder / "sheet.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,angrry,happy\na,1,0\n", "'angrry' would not be used"),
        ("file,happy,sad\na,,\nb,,\n", "no emotion is filled in"),
        ("file,label\na,neutral\nb,sad\na,angry\n", "line 4: the emotion is 'angry', but line 2"),
        ("file,label\na,NEU\nb,SAD\na,ANG\n", "line 4: the emotion is 'ANG', but line 2"),
    ],
)
def test_what_would_teach_something_wrong_is_refused(tmp_path, text, message):
    recordings = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.raises(UserError, match=message):
        read_labels(sheet(tmp_path, text), recordings)


def test_rows_that_repeat_or_name_nothing_are_told(tmp_path, caplog):
    recordings = [tmp_path / "a.wav", tmp_path / "b.wav"]
    read_labels(sheet(tmp_path, "file,label\na,sad\na,sad\nb,calm\n"), recordings)
    assert "1 rows repeat others" in caplog.text
    read_labels(sheet(tmp_path, "file,sad,fear\na,1,2\nb,,\n"), recordings)
    assert "1 rows name no emotion" in caplog.text


def test_numbers_of_speakers_are_the_same_with_and_without_zeros(tmp_path, caplog):
    recordings = [tmp_path / f"x-{n}.wav" for n in ("01", "02", "03")]
    text = "file,happy,speaker\nx-01,2,1\nx-02,0,2\n"
    table = read_labels(sheet(tmp_path, text), recordings, speaker_from="-([0-9]+)$")
    assert [table.speakers[path] for path in recordings] == [{"1"}, {"2"}, {"3"}]
    assert "spelled alike" in caplog.text  # 3 is neither 1 nor 2


def test_a_pattern_that_fits_nothing_is_refused_and_unknown_voices_are_told(tmp_path, caplog):
    recordings = [tmp_path / "anna_1.wav", tmp_path / "b.wav"]
    file = sheet(tmp_path, "file,happy,speaker\nanna_1,2,anna\n")
    with pytest.raises(UserError, match=r"fits none of the 2 file names, such as 'anna_1\.wav'"):
        read_labels(file, recordings, speaker_from="^([0-9]+)_")
    read_labels(file, recordings, speaker_from="^([a-z]+)_")
    assert "does not fit 1 of 2 file names, 'b.wav' for one" in caplog.text
    assert "1 recordings without labels name no speaker" in caplog.text
