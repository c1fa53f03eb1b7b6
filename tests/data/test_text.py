import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import (
    Examples,
    RandomAffine,
    episode_dataset,
    episode_hash,
    freeze_episodes,
    from_arrays,
    from_csv,
    from_json,
    from_jsonl,
    from_texts,
    load_episodes,
    split_classes,
)

TEXTS = ["play a song", "wake me at six", "spiele „Für Elise“", "set an alarm"]
LABELS = ["music", "alarm", "music", "alarm"]
BYTES = [text.encode() for text in TEXTS]


def many(n_classes=6, n=8):
    words = [f"word{c} number{i}" for c in range(n_classes) for i in range(n)]
    return from_texts(words, np.repeat(np.arange(n_classes), n))


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def assert_same(examples):
    assert examples.is_text
    assert not examples.is_lazy
    assert examples.class_names == ("alarm", "music")
    assert examples.x.tolist() == BYTES
    assert examples.y.tolist() == [1, 0, 1, 0]


def test_texts_are_bytes_and_strings_are_paths():
    examples = from_texts(TEXTS, LABELS)
    assert_same(examples)
    assert repr(examples) == "Examples(4 texts, 2 classes)"
    assert examples.example_shape == ()
    for x in (BYTES, np.array(BYTES), np.array(BYTES, object)):
        assert_same(from_arrays(x, LABELS))
    with pytest.raises(ValueError, match="image_size"):
        Examples(TEXTS, [0, 1, 0, 1])


def test_read_gives_strings_in_a_graph_too():
    examples = from_texts(TEXTS, LABELS)
    rows = tf.constant([[3, 0], [2, 2]], tf.int64)
    for read in (examples.read, tf.function(examples.read)):
        x = read(rows)
        assert x.dtype == tf.string
        assert x.numpy().tolist() == [[BYTES[3], BYTES[0]], [BYTES[2], BYTES[2]]]


def test_selected_texts_stay_texts():
    chosen = from_texts(TEXTS, LABELS).select(["music"])
    assert chosen.is_text
    assert chosen.x.tolist() == [BYTES[0], BYTES[2]]
    parts = split_classes(many(), seed=1)
    assert all(part.is_text for part in parts)
    assert sum(part.n_classes for part in parts) == 6


def test_texts_are_neither_rotated_nor_distorted():
    with pytest.raises(ValueError, match="square"):
        many().rotate()
    with pytest.raises(ValueError, match="needs pictures"):
        episode_dataset(many(), n_way=2, n_shot=1, n_query=1, augment=RandomAffine())


def test_episodes_of_texts_are_frozen_and_hashed_by_content(tmp_path):
    sizes = {"n_way": 3, "n_shot": 1, "n_query": 2, "seed": 3}
    episodes = episode_dataset(many(), n_episodes=4, n_tasks=2, **sizes)
    inputs, query_y = next(iter(episodes))
    assert inputs["support_x"].dtype == tf.string
    assert inputs["query_x"].shape == query_y.shape == (2, 6)
    hashes = {episode_hash(episode_dataset(many(), n_episodes=4, **sizes)) for _ in range(2)}
    frozen = freeze_episodes(many(), tmp_path / "test.npz", n_episodes=4, **sizes)
    assert hashes == {frozen} == {episode_hash(load_episodes(many(), tmp_path / "test.npz"))}
    other = from_texts([f"other {t.decode()}" for t in many().x], many().y)
    assert episode_hash(episode_dataset(other, n_episodes=4, **sizes)) != frozen
    with pytest.raises(ValueError, match="must hold the examples"):
        load_episodes(other, tmp_path / "test.npz")


def test_hash_knows_where_a_text_ends():
    def hash_of(*texts):
        x = np.array([[*texts]], object)
        return episode_hash([({"support_x": x, "support_y": x, "query_x": x}, np.zeros([1, 1]))])

    assert hash_of(b"ab", b"c") != hash_of(b"a", b"bc")


def test_check_names_the_same_text_twice():
    examples = from_texts(["hello", "hi there", " hello", "hi there", "good bye"], [0, 0, 0, 1, 1])
    within, between = examples.check(2, n_shot=1, n_query=1)
    assert "row 0 'hello' ('0') = row 2 'hello' ('0')" in within
    assert "row 1 'hi there' ('0') = row 3 'hi there' ('1')" in between
    assert many().check(3, n_query=2) == []
    (shared,) = from_texts(["word0 number1"], ["z"]).check(1, n_query=0, others=[many()])
    assert "others[0]" in shared


CSV = 'id,label,text\n1,music,play a song\n2,alarm,"wake me at six"\n'
CSV += "3,music,spiele „Für Elise“\n4,alarm, set an alarm \n\n"
JSONL = "".join(
    json.dumps({"raw": text, "intent": label}) + "\n"
    for text, label in zip(TEXTS, LABELS, strict=True)
)
PAIRS = [list(pair) for pair in zip(TEXTS, LABELS, strict=True)]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_csv(tmp_path, ending):
    assert_same(from_csv(write(tmp_path / f"a.csv{ending}", CSV)))
    semicolons = CSV.replace(",", ";").replace("text", "frage")
    path = write(tmp_path / f"b.csv{ending}", semicolons.encode("utf-8-sig"))
    assert_same(from_csv(path, text="frage", delimiter=";"))
    assert_same(from_csv(write(tmp_path / "c.csv", CSV.split("\n", 1)[1]), text=2, label=1))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_jsonl(tmp_path, ending):
    path = write(tmp_path / f"a.jsonl{ending}", JSONL + "\n")
    assert_same(from_jsonl(path, text="raw", label="intent"))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_joins_the_parts_and_leaves_out_of_scope_queries_out(tmp_path, ending):
    assert_same(from_json(write(tmp_path / f"list.json{ending}", json.dumps(PAIRS))))
    parts = {"oos_test": [["who is it", "oos"]], "test": PAIRS[2:], "train": PAIRS[:2]}
    path = write(tmp_path / f"parts.json{ending}", json.dumps(parts))
    assert_same(from_json(path))
    assert from_json(path, parts=["oos_test"]).class_names == ("oos",)


def test_integer_labels_become_names(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 10}\n{"text": "b", "label": 9}\n')
    assert from_jsonl(path).class_names == ("10", "9")


@pytest.mark.parametrize(
    ("texts", "message"), [(["a", " "], "text 1: ' '"), (["a", 3], "text 1: 3"), ([], "At least")]
)
def test_from_texts_refuses(texts, message):
    with pytest.raises(ValueError, match=message):
        from_texts(texts, ["x"] * len(texts))
    with pytest.raises(ValueError, match="UTF-8"):
        from_arrays([b"a", b"\xff"], ["x", "y"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,x\n ,y\n", "line 3: ' '"),
        ("text,label\na,x\nb\n", "line 3: None"),
        ("text,label\na, \n", "line 2: ' '"),
        ("text,class\na,x\n", "Received: text, class"),
        ("", "Received: none"),
        ("text,label\n", "labelled text"),
        (b"text,label\n\xff,x\n", "utf-8"),
        ('text,label\n"two\nlines",x\nb,\n', "line 4: ''"),
    ],
)
def test_csv_refuses(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        from_csv(write(tmp_path / "bad.csv", content))
    assert "bad.csv" in str(error.value)


def test_csv_refuses_half_a_header(tmp_path):
    with pytest.raises(ValueError, match="two names of columns, or two numbers"):
        from_csv(write(tmp_path / "a.csv", CSV), text=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": "x"}\n{"text": null, "label": "x"}\n', "line 2: None"),
        ('{"text": "a"}\n', "line 1' must have 'text' and 'label'. Received: text"),
        ('{"text": "a", "label": true}\n', "line 1: True"),
        ('{"text": "a", "label": 0.5}\n', "line 1: 0.5"),
        ('{"text": "a", "label": "x"\n', "line 1 is no JSON"),
        ("[1, 2]\n", "line 1"),
    ],
)
def test_jsonl_refuses(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        from_jsonl(write(tmp_path / "bad.jsonl", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [["a", "x"], ["", "x"]]}, "train pair 1: ''"),
        ([["a", "x", "y"]], "pair 0"),
        ({"data": [["a", "x"]]}, "the lists \\['data'\\]"),
        (3, "Received: int"),
    ],
)
def test_json_refuses(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        from_json(write(tmp_path / "bad.json", json.dumps(content)))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        from_csv(tmp_path / "none.csv")
    path = write(tmp_path / "cut.json.gz", json.dumps(PAIRS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="truncated"):
        from_json(path)
    with pytest.raises(ValueError, match="from_jsonl"):
        from_json(write(tmp_path / "lines.json", JSONL))
