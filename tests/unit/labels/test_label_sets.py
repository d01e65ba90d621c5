"""Label sets: the term tree, counting and dropping on hand-made catalogs, and the paper's numbers on the real metadata."""

from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from thorax.archives import ARCHIVES, chexpert
from thorax.config import LabelSet
from thorax.errors import ThoraxError
from thorax.labels.label_sets import (
    LABEL_SET,
    NO_CLASS_LEFT,
    OUTSIDE,
    WHOLE,
    WITHOUT_LABELS,
    build,
    build_inside,
    make_label_set,
)
from thorax.labels.term_tree import TERM_TABLES, UMBRELLAS, TermTree
from thorax.report import published_numbers as reference
from thorax.storage import schemas, store

REAL = Path(__file__).parents[3].parent / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real metadata is not beside the checkout")
TREE = TermTree.load()


def label_set(**options) -> LabelSet:
    return LabelSet(dataset="d", **options)


def images(*rows: tuple[str, list[str]], view: str = "PA") -> pd.DataFrame:
    """A catalog with one row (patient, positive labels) per image; images are named i0, i1, ..."""
    return pd.DataFrame(
        {
            "image_id": [f"i{index}" for index in range(len(rows))],
            "patient_id": [patient for patient, _ in rows],
            "view": view,
            "positive": [labels for _, labels in rows],
            "negative": [[] for _ in rows],
            "uncertain": [[] for _ in rows],
        }
    )


def ingested(frame: pd.DataFrame, channels: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"image_id": frame["image_id"], "ok": True, "channels": channels})


def counts(table) -> dict[str, tuple[int, int, str]]:
    return {row["class"]: (row["images"], row["patients"], row["status"]) for _, row in table.report.iterrows()}


EXAMPLE = images(
    ("p", ["normal"]),
    ("p", ["nodule", "mass"]),
    ("q", ["mass", "normal"]),
    ("q", ["nodule"]),
    ("r", ["kyphosis"]),
    ("r", []),
    ("s", ["nodule"]),
)


@pytest.mark.parametrize(
    ("term", "general"),
    [
        ("normal", ("normal",)),
        ("exclude", ("exclude",)),
        ("suboptimal study", ("suboptimal study",)),
        ("unchanged", ("unchanged",)),
        ("nodule", ("nodule",)),
        ("air bronchogram", ("infiltrates",)),
        ("calcified granuloma", ("calcified densities", "granuloma")),
        ("adenopathy", ("adenopathy", "hilar enlargement")),
        ("calcified mediastinal adenopathy", ("adenopathy", "calcified densities", "hilar enlargement")),
        ("aortic aneurysm", ("aortic aneurysm", "mediastinal enlargement")),
        ("supra aortic elongation", ("aortic elongation", "mediastinal enlargement")),
        ("COVID 19", ("pneumonia",)),
        ("lipomatosis", ("lipomatosis",)),
    ],
)
def test_general_terms(term, general):
    assert TREE.general(term) == general


def test_the_tree_is_whole():
    edges = sum(len(parents) for parents in TREE.parents.values())
    roots = [term for term, parents in TREE.parents.items() if not parents]
    assert (len(TREE.parents), edges + len(roots)) == (304, 332)
    assert roots == ["normal", "exclude", "suboptimal study", *UMBRELLAS]
    assert sum(len(children) for children in TREE.children.values()) == edges
    assert TREE.children["granuloma"] == ("calcified granuloma",)
    assert TREE.parents["calcified granuloma"] == ("calcified densities", "granuloma")
    assert "lipomatosis" not in TREE


def test_general_terms_are_the_ancestors_just_below_an_umbrella():
    below_umbrella = {term for umbrella in UMBRELLAS for term in TREE.children[umbrella]}
    for term in set(TREE.parents) - set(UMBRELLAS):
        ancestors = {term}
        while (grown := ancestors.union(*(TREE.parents[ancestor] for ancestor in ancestors))) != ancestors:
            ancestors = grown
        assert set(TREE.general(term)) == (ancestors & below_umbrella or {term})


@needs_real
@pytest.mark.real
def test_the_tree_agrees_with_its_source():
    """Each line of the drawing is `(4 characters per level)term [facts]`; read it the other way round, from the leaves."""
    lines = (REAL / "metadata" / "padchest_term_tree.txt").read_text(encoding="utf-8").splitlines()
    drawn = [(len(line) - len(line.lstrip("│├└─ \u00a0")), line.lstrip("│├└─ \u00a0").split(" [")[0]) for line in lines]
    edges = set()
    for index, (indent, term) in enumerate(drawn):
        above = [parent for level, parent in drawn[:index] if level == indent - 4]
        edges.add((term, above[-1] if indent else ""))
    table = pd.read_csv(TERM_TABLES["padchest"], dtype=str, keep_default_na=False)
    assert set(zip(table["term"], table["parent"], strict=True)) == edges
    assert len(table) == len(edges)
    assert table.loc[table["term"] == "hiatal hernia", "cui"].unique().tolist() == ["C3489393"]


def test_specific_classes_are_ordered_and_counted():
    table = build(label_set(), "padchest", EXAMPLE)
    assert table.classes == ("nodule", "mass", "normal", "kyphosis")
    assert table.frame.columns.tolist() == ["image_id", "patient_id", *table.classes]
    assert table.frame["image_id"].tolist() == ["i0", "i1", "i2", "i3", "i4", "i6"]
    assert table.frame[list(table.classes)].to_numpy().tolist() == [
        [0, 0, 1, 0],
        [1, 1, 0, 0],
        [0, 1, 1, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [1, 0, 0, 0],
    ]
    assert counts(table) == {
        "nodule": (3, 3, "kept"),
        "mass": (2, 2, "kept"),
        "normal": (2, 2, "kept"),
        "kyphosis": (1, 1, "kept"),
        "(images considered)": (7, 4, ""),
        WITHOUT_LABELS: (1, 1, "dropped"),
        NO_CLASS_LEFT: (0, 0, "dropped"),
        LABEL_SET: (6, 4, "kept"),
    }


def test_minimum_counts_and_exclusions_are_reported():
    table = build(
        label_set(min_images=2, min_patients=3, exclude=["normal"], without_class="keep_labelled"), "padchest", EXAMPLE
    )
    assert table.classes == ("nodule",)
    assert counts(table) == {
        "nodule": (3, 3, "kept"),
        "mass": (2, 2, "too few patients"),
        "normal": (2, 2, "excluded"),
        "kyphosis": (1, 1, "too few images"),
        "(images considered)": (7, 4, ""),
        WITHOUT_LABELS: (1, 1, "dropped"),
        NO_CLASS_LEFT: (3, 3, "kept as negative"),
        LABEL_SET: (6, 4, "kept"),
    }
    assert table.frame["nodule"].tolist() == [0, 1, 0, 1, 0, 1]


def test_images_without_a_class_are_dropped():
    table = build(label_set(exclude=["kyphosis"], min_images=2), "padchest", EXAMPLE)
    assert table.frame["image_id"].tolist() == ["i0", "i1", "i2", "i3", "i6"]
    assert counts(table)[NO_CLASS_LEFT] == (1, 1, "dropped")


def test_a_label_may_give_two_general_classes_and_two_labels_one():
    frame = images(("p", ["calcified granuloma", "granuloma"]), ("q", ["calcified densities"]), ("q", ["lipomatosis"]))
    table = build(label_set(grouping="general"), "padchest", frame)
    assert table.classes == ("calcified densities", "granuloma", "lipomatosis")
    assert table.frame[list(table.classes)].to_numpy().tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert table.unknown == ("lipomatosis",)
    assert dict(zip(table.report["class"], table.report["in_tree"], strict=True))["lipomatosis"] is False


def test_labels_are_never_matched_by_their_parts():
    frame = images(("p", ["consolidation"]), ("q", ["alveolar consolidation"]))
    table = build(label_set(), "padchest", frame)
    assert table.classes == ("alveolar consolidation", "consolidation")
    assert table.frame["consolidation"].tolist() == [1, 0]


def test_only_chosen_views_count():
    frame = pd.concat([EXAMPLE, images(("t", ["kyphosis"]), view="L").assign(image_id="side")])
    assert counts(build(label_set(), "padchest", frame))["kyphosis"] == (1, 1, "kept")
    assert counts(build(label_set(views=["PA", "L"]), "padchest", frame))["kyphosis"] == (2, 2, "kept")


def test_unreadable_images_and_dropped_channels_do_not_count():
    facts = ingested(EXAMPLE)
    facts.loc[0, ["ok", "channels"]] = [False, 0]
    facts.loc[1, "channels"] = 4
    table = build(label_set(drop_channels=[4]), "padchest", EXAMPLE, facts)
    assert table.frame["image_id"].tolist() == ["i2", "i3", "i4", "i6"]
    assert counts(table)["nodule"] == (2, 2, "kept")
    assert build(label_set(), "padchest", EXAMPLE, facts).frame["image_id"].tolist() == ["i1", "i2", "i3", "i4", "i6"]


def test_no_finding_excluded_and_unlabelled_kept():
    frame = images(("1", ["No Finding"]), ("1", ["Mass"]), ("2", ["Mass", "Hernia"]))
    table = build(label_set(exclude=["No Finding"], without_class="keep_labelled"), "nih", frame)
    assert table.classes == ("Mass", "Hernia")
    assert table.frame[["Mass", "Hernia"]].to_numpy().tolist() == [[0, 0], [1, 0], [1, 1]]
    assert build(label_set(), "nih", frame).classes == ("Mass", "Hernia", "No Finding")


def test_uncertain_labels_are_ignored_unless_positive():
    frame = images(("p", ["mass"]), ("q", ["nodule"]), ("r", ["mass"]))
    frame["uncertain"] = [["nodule"], ["calcified granuloma", "nodule"], []]
    table = build(label_set(), "padchest", frame)
    assert table.frame[["mass", "nodule"]].to_numpy().tolist() == [[1, -1], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("policy", "matrix", "mass"),
    [
        ("ignore", [[1, -1], [-1, 1], [1, 0]], (2, 1)),
        ("zeros", [[1, 0], [0, 1], [1, 0]], (2, 0)),
        ("ones", [[1, 1], [1, 1], [1, 0]], (3, 0)),
    ],
)
def test_uncertain_labels_by_policy(policy, matrix, mass):
    """Irvin et al. 2019, section 3: U-Ignore, U-Zeros, U-Ones; what is also stated as present stays present."""
    frame = images(("p", ["mass"]), ("q", ["nodule"]), ("r", ["mass"]))
    frame["uncertain"] = [["nodule"], ["mass", "nodule"], ["mass"]]
    table = build(label_set(uncertain=policy), "nih", frame)
    assert table.frame[["mass", "nodule"]].to_numpy().tolist() == matrix
    report = table.report.set_index("class")
    assert (report["images"]["mass"], report["uncertain"]["mass"]) == mass


def test_a_class_that_is_only_uncertain_is_reported():
    frame = images(("p", ["mass"]), ("q", ["nodule"])).assign(uncertain=[["hernia"], []])
    report = build(label_set(), "nih", frame).report.set_index("class")
    assert report.loc["hernia", ["images", "patients", "uncertain", "status"]].tolist() == [0, 0, 1, "too few images"]


@pytest.mark.parametrize(
    ("rule", "kept"), [("drop", ["i0"]), ("keep_labelled", ["i0", "i1", "i2"]), ("keep", ["i0", "i1", "i2", "i3"])]
)
def test_images_without_a_positive_class_by_rule(rule, kept):
    frame = images(("p", ["mass", "nodule"]), ("q", ["hernia"]), ("r", []), ("s", []))
    frame["uncertain"] = [[], [], ["mass"], []]
    table = build(label_set(exclude=["hernia"], without_class=rule), "nih", frame)
    assert table.frame["image_id"].tolist() == kept
    assert counts(table)[LABEL_SET][0] == len(kept)


def test_terms_with_two_parents_follow_the_rule():
    tree = TermTree(
        {"radiological finding": (), "a": ("radiological finding",), "b": ("radiological finding",), "c": ("b", "a")}
    )
    assert tree.general("c") == ("a", "b")
    assert tree.climbed("first").general("c") == ("b",)
    both = build(label_set(grouping="general"), "padchest", images(("p", ["calcified granuloma"]), ("q", ["mass"])))
    first = build(
        label_set(grouping="general", two_parents="first"), "padchest", images(("p", ["calcified granuloma"]), ("q", ["mass"]))
    )
    assert len(both.classes) == len(first.classes) + 1


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["specific", "general"]))
def test_the_order_of_rows_and_labels_does_not_matter(random, grouping):
    order = list(range(len(EXAMPLE)))
    random.shuffle(order)
    shuffled = EXAMPLE.iloc[order].assign(
        positive=[random.sample(labels, len(labels)) for labels in EXAMPLE["positive"].iloc[order]]
    )
    facts = ingested(EXAMPLE).sample(frac=1, random_state=1)
    expected = build(label_set(grouping=grouping), "padchest", EXAMPLE)
    result = build(label_set(grouping=grouping), "padchest", shuffled, facts)
    pd.testing.assert_frame_equal(result.frame, expected.frame)
    pd.testing.assert_frame_equal(result.report, expected.report)


@pytest.mark.parametrize(
    ("options", "archive", "parts"),
    [
        ({"grouping": "general"}, "nih", ["label_sets.mine.grouping", "specific"]),
        ({"exclude": ["normal", "Nodul"]}, "padchest", ["label_sets.mine.exclude", "'Nodul'"]),
        ({"views": ["L"]}, "padchest", ["label_sets.mine.views", "(PA)"]),
        ({"min_images": 100}, "padchest", ["label_sets.mine keeps 0", "'nodule'", "3 images", "lower min_images (100)"]),
        ({"min_images": 3}, "padchest", ["label_sets.mine keeps 1 of the 2", "'mass'", "lower min_images (3)"]),
        ({"min_patients": 4}, "padchest", ["label_sets.mine keeps 0", "lower min_patients (4)"]),
        ({"exclude": ["normal", "nodule", "mass", "kyphosis"]}, "padchest", ["label_sets.mine keeps 0", "shorten exclude"]),
    ],
)
def test_impossible_settings_are_named(options, archive, parts):
    with pytest.raises(ThoraxError) as caught:
        build(label_set(**options), archive, EXAMPLE, None, "mine")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_images_that_nothing_is_known_of():
    with pytest.raises(ThoraxError, match=r"keeps 0"):
        build(label_set(without_class="keep_labelled"), "padchest", images(("p", []), ("q", [])))
    with pytest.raises(ThoraxError, match=r"no image .* is both readable"):
        build(label_set(), "padchest", EXAMPLE, ingested(EXAMPLE).assign(ok=False))
    with pytest.raises(ThoraxError, match=r"has no row for image 'i6'"):
        build(label_set(), "padchest", EXAMPLE, ingested(EXAMPLE).iloc[:-1])


def test_make_label_set_writes_the_table_and_its_report(tmp_path):
    full = EXAMPLE.assign(**{name: None for name in schemas.CATALOG.names if name not in EXAMPLE}).sample(
        frac=1, random_state=0
    )
    store.write_table(full, tmp_path / "catalog.parquet", schemas.CATALOG)
    facts = ingested(EXAMPLE).assign(
        reason=None, rows=1, columns=1, bits=8, burned_in=False, collimated=False, low=0, high=1, shard=0, row=0
    )
    store.write_table(facts, tmp_path / "ingested.parquet", schemas.INGESTED)
    out, report = tmp_path / "labels" / "mine.parquet", tmp_path / "labels" / "mine.csv"
    chosen = label_set(min_images=2)
    make_label_set(chosen, "padchest", tmp_path / "catalog.parquet", tmp_path / "ingested.parquet", out, report)
    table = build(chosen, "padchest", EXAMPLE)
    written = store.read_table(out)
    assert schemas.class_columns(written) == ["nodule", "mass", "normal"]
    assert (written[list(table.classes)].dtypes == "int8").all()
    assert written.to_numpy().tolist() == table.frame.to_numpy().tolist()
    assert report.read_text().splitlines()[:2] == [
        "class,images,patients,uncertain,status,in_tree",
        "nodule,3,3,0,kept,True",
    ]
    assert "(label set),5,3,,kept," in report.read_text()
    make_label_set(chosen, "padchest", tmp_path / "catalog.parquet", None, out, report)
    assert store.read_table(out).equals(written)
    with pytest.raises(ThoraxError, match=r"label_sets.mine keeps 0"):
        make_label_set(label_set(min_images=9), "padchest", tmp_path / "catalog.parquet", None, out, report)
    (tmp_path / "file").write_text("")
    with pytest.raises(ThoraxError, match="file cannot be written"):
        make_label_set(
            chosen, "padchest", tmp_path / "catalog.parquet", None, tmp_path / "new.parquet", tmp_path / "file" / "new.csv"
        )
    assert not (tmp_path / "new.parquet").exists()


NESTED = images(
    ("p", ["normal"]),
    ("p", ["interstitial pattern", "alveolar pattern"]),
    ("q", ["alveolar pattern"]),
    ("q", ["calcified granuloma"]),  # below calcified densities and below granuloma
    ("r", ["heart valve calcified"]),  # below calcified densities
    ("r", ["granuloma"]),
    ("s", ["normal"]),
    ("s", []),
)


def inside(frame, general=None, **options):
    general = build(label_set(grouping="general", **(general or {})), "padchest", frame)
    return build_inside(label_set(inside="g", **options), "padchest", frame, general.frame, name="mine")


def column(table, name: str) -> str:
    """One class by image: 1, 0 and - where it is ignored."""
    return "".join({1: "1", 0: "0", -1: "-"}[value] for value in table.frame[name])


def test_a_class_inside_is_known_where_one_of_its_general_classes_is():
    table = inside(NESTED)
    assert list(table.frame["image_id"]) == [f"i{index}" for index in range(7)], "those of the general label set"
    assert table.classes == ("calcified granuloma", "granuloma", "heart valve calcified", "interstitial pattern")
    assert column(table, "interstitial pattern") == "-10----"
    assert column(table, "calcified granuloma") == "---100-", "of two parents either counts"
    assert column(table, "heart valve calcified") == "---01--"
    assert column(table, "granuloma") == "---0-1-"
    assert counts(table)["normal"] == (2, 2, WHOLE), "it is its own general class"
    assert counts(table)["alveolar pattern"] == (2, 2, WHOLE), "all infiltrates have it"
    assert counts(table)[OUTSIDE] == (1, 1, "dropped")
    assert counts(table)[LABEL_SET] == (7, 4, "kept")


def test_with_the_first_parent_alone_the_other_one_does_not_count():
    assert TREE.climbed("first").general("calcified granuloma") == ("calcified densities",)
    table = inside(NESTED, {"two_parents": "first"}, two_parents="first")
    assert column(table, "calcified granuloma") == "---10--"


def test_a_general_class_that_is_left_out_does_not_count():
    table = inside(NESTED, {"exclude": ["calcified densities"]}, exclude=["heart valve calcified"])
    assert list(table.frame["image_id"]) == ["i0", "i1", "i2", "i3", "i5", "i6"]
    assert column(table, "calcified granuloma") == "---10-"
    with pytest.raises(
        ThoraxError, match=r"'g' has no general class of 'heart valve calcified' \(calcified densities\): lower"
    ):
        inside(NESTED, {"exclude": ["calcified densities"]})


def test_minimum_patients_count_on_both_sides():
    frame = images(
        ("p", ["interstitial pattern"]), ("q", ["interstitial pattern"]), ("r", ["alveolar pattern"]), ("s", ["normal"])
    )
    assert inside(frame).classes == ("interstitial pattern", "alveolar pattern")
    with pytest.raises(ThoraxError, match=r"label_sets.mine: no class leaves anything to tell apart"):
        inside(frame, min_patients=2)
    more = pd.concat([frame, images(("t", ["consolidation"])).assign(image_id="i4")], ignore_index=True)
    assert inside(more, min_patients=2).classes == ("interstitial pattern",)


def test_uncertain_labels_inside():
    frame = images(("p", ["alveolar pattern"]), ("q", ["interstitial pattern"]), ("r", ["alveolar pattern"]), ("s", ["normal"]))
    frame["uncertain"] = [["interstitial pattern"], [], [], ["interstitial pattern"]]
    assert column(inside(frame), "interstitial pattern") == "-10-"
    policy = {"uncertain": "ones"}  # then infiltrates are positive in the last image too
    assert column(inside(frame, policy, **policy), "interstitial pattern") == "1101"
    policy = {"uncertain": "zeros"}
    assert column(inside(frame, policy, **policy), "interstitial pattern") == "010-"


def test_general_labels_of_another_catalog_and_archives_without_a_tree_are_refused():
    general = build(label_set(grouping="general"), "padchest", NESTED).frame
    other = images(("p", ["interstitial pattern"]), ("q", ["normal"]), ("q", ["normal"]))
    with pytest.raises(ThoraxError, match="made from another catalog"):
        build_inside(label_set(inside="g"), "padchest", other, general)
    with pytest.raises(
        ThoraxError, match="inside: archive 'nih' has no term tree, only padchest and chexpert have one: remove it"
    ):
        build_inside(label_set(inside="g"), "nih", NESTED, general)


def test_the_verb_needs_the_general_labels_where_there_is_an_inside(tmp_path):
    store.write_table(
        NESTED.assign(**dict.fromkeys(set(schemas.CATALOG.names) - set(NESTED.columns))),
        tmp_path / "c.parquet",
        schemas.CATALOG,
    )
    place = {"catalog": tmp_path / "c.parquet", "ingested": None, "report": tmp_path / "r.csv"}
    make_label_set(label_set(grouping="general"), "padchest", out=tmp_path / "g.parquet", **place)
    settings = label_set(inside="g")
    with pytest.raises(ThoraxError, match=r"label_sets.mine: inside and the labels of the general label set"):
        make_label_set(settings, "padchest", out=tmp_path / "mine.parquet", **place)
    make_label_set(settings, "padchest", out=tmp_path / "mine.parquet", general=tmp_path / "g.parquet", **place)
    assert store.read_table(tmp_path / "mine.parquet").equals(inside(NESTED).frame)
    assert f"normal,2,2,0,{WHOLE},True" in (tmp_path / "r.csv").read_text()


UMBRELLA_TREE = TREE.climbed("umbrella")


@pytest.mark.parametrize(
    ("term", "general"),
    [
        ("normal", ("normal",)),
        ("adenopathy", ("adenopathy",)),  # first parent: radiological finding; hilar enlargement is ignored
        ("aortic elongation", ("aortic elongation",)),
        ("supra aortic elongation", ("aortic elongation", "mediastinal enlargement")),
        ("calcified granuloma", ("calcified densities", "granuloma")),  # neither parent is an umbrella: both
        ("calcified mediastinal adenopathy", ("adenopathy", "calcified densities")),
        ("hiatal hernia", ("hiatal hernia", "mediastinal enlargement")),  # the umbrella is its second parent: a class as well
    ],
)
def test_terms_right_below_an_umbrella_climb_no_further(term, general):
    assert UMBRELLA_TREE.general(term) == general


def test_a_term_with_an_umbrella_among_its_later_parents_is_a_class_of_its_own_as_well():
    root = "radiological finding"
    tree = TermTree({root: (), "a": (root,), "b": ("a", root), "c": (root, "a"), "d": ("b",)}).climbed("umbrella")
    assert [tree.general(term) for term in "abcd"] == [("a",), ("a", "b"), ("c",), ("a", "b")]


PADDED = images(("p", ["mass", "nodule"]), ("q", ["mass"]), ("r", ["nodule", "normal"]), ("s", ["normal"])).assign(
    padded=[["nodule"], ["mass"], ["nodule", "normal"], ["normal"]]
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"mass": 2, "nodule": 2, "normal": 2}),
        ({"padded_labels": "ignore", "padded_kept": ["normal"]}, {"normal": 2, "mass": 1}),
        ({"padded_labels": "ignore", "padded_kept": ["normal", "nodule"]}, {"nodule": 2, "normal": 2, "mass": 1}),
    ],
)
def test_labels_stored_with_a_blank_count_or_not(options, expected):
    table = build(label_set(**options), "padchest", PADDED)
    assert table.frame[list(table.classes)].sum().to_dict() == expected
    assert list(table.frame["image_id"]) == [
        f"i{row}" for row in range(4) if options == {} or row != 1 or "mass" not in expected
    ]


def test_an_image_whose_only_label_is_stored_with_a_blank_is_labelled():
    """It has a finding, though one that does not count: it is not an image without labels, and keep_labelled keeps it."""
    options = {"padded_labels": "ignore", "padded_kept": ["normal"]}
    summary = counts(build(label_set(**options), "padchest", PADDED))
    assert (summary[WITHOUT_LABELS][0], summary[NO_CLASS_LEFT][0]) == (0, 1)
    kept = build(label_set(**options, without_class="keep_labelled"), "padchest", PADDED).frame
    assert kept.set_index("image_id").loc["i1", ["mass", "normal"]].tolist() == [0, 0]


def test_a_data_set_that_does_not_say_which_labels_have_a_blank_is_refused():
    settings = label_set(padded_labels="ignore")
    with pytest.raises(ThoraxError, match=r"label_sets\.mine\.padded_labels: data set 'd' does not say"):
        build(settings, "nih", EXAMPLE.assign(padded=None), name="mine")


def test_exceptions_from_a_rule_that_is_not_set_are_refused():
    with pytest.raises(ValidationError, match="padded_kept is for padded_labels: ignore"):
        label_set(padded_kept=["normal"])


CHEXPERT = {
    "No Finding": "No Finding",
    "Enlarged Cardiomediastinum": "Enlarged Cardiomediastinum",
    "Cardiomegaly": "Enlarged Cardiomediastinum",
    "Lung Opacity": "Lung Opacity",
    "Lung Lesion": "Lung Opacity",
    "Edema": "Lung Opacity",
    "Consolidation": "Lung Opacity",
    "Pneumonia": "Lung Opacity",
    "Atelectasis": "Lung Opacity",
    "Pneumothorax": "Pneumothorax",
    "Pleural Effusion": "Pleural Effusion",
    "Pleural Other": "Pleural Other",
    "Fracture": "Fracture",
    "Support Devices": "Support Devices",
}


def test_chexperts_hierarchy_is_that_of_irvin_et_al():
    tree = TermTree.load(TERM_TABLES["chexpert"])
    assert {term: tree.general(term) for term in tree.parents} == {term: (general,) for term, general in CHEXPERT.items()}
    assert tuple(tree.parents) == chexpert.LABELS
    assert tree.parents["Pneumonia"] == ("Consolidation",)


@pytest.mark.parametrize(("policy", "values"), [("ignore", "1-10-"), ("zeros", "10100"), ("ones", "11101")])
def test_a_general_class_is_positive_then_uncertain_then_negative(policy, values):
    """Of lung opacity and what is below it; what a report does not mention is negative, as in the specific classes."""
    frame = images(("p", ["Edema"]), ("q", []), ("r", ["Pneumonia"]), ("s", ["Fracture"]), ("t", ["Fracture"]))
    frame["uncertain"] = [["Pneumonia"], ["Edema"], [], [], ["Lung Lesion"]]
    frame["negative"] = [["Lung Opacity"], ["Lung Opacity"], ["Edema"], ["Edema", "Lung Opacity"], []]
    settings = label_set(grouping="general", without_class="keep", uncertain=policy)
    assert column(build(settings, "chexpert", frame), "Lung Opacity") == values


@needs_real
@pytest.mark.real
def test_real_chexpert_grouped():
    frame = ARCHIVES["chexpert"].read_catalog(REAL / "metadata")
    options = {"views": ["PA", "AP", "LL", "RL"], "without_class": "keep"}
    grouped = build(label_set(grouping="general", **options), "chexpert", frame)
    flat = build(label_set(**options), "chexpert", frame).frame.set_index("image_id")
    assert set(grouped.classes) == set(CHEXPERT.values())
    for name in grouped.classes:
        below = flat[[label for label, general in CHEXPERT.items() if general == name]]
        expected = (
            (below == 1).any(axis=1).astype(int).where(lambda yes, below=below: (yes == 1) | ~(below == -1).any(axis=1), -1)
        )
        assert (grouped.frame.set_index("image_id")[name] == expected).all(), name


@needs_real
@pytest.mark.real
def test_real_padchest_inside(real_padchest):
    general = build(label_set(min_images=200, grouping="general", exclude=["exclude"]), "padchest", real_padchest)
    flat = build(label_set(min_images=1000), "padchest", real_padchest)
    table = build_inside(label_set(min_images=1000, inside="g"), "padchest", real_padchest, general.frame)
    assert set(flat.frame["image_id"]) <= set(table.frame["image_id"]) == set(general.frame["image_id"])
    assert [status for _, _, status in counts(table).values()].count(WHOLE) == 35 - len(table.classes) == 13
    labels = table.frame.set_index("image_id")[list(table.classes)]
    assert (labels != -1).any(axis=1).sum() == 40_975, "fewer than half teach the second network"
    known = (labels == 1).reindex(flat.frame["image_id"])
    assert (known == (flat.frame.set_index("image_id")[list(table.classes)] == 1)).all().all()


@pytest.fixture(scope="module")
def real_padchest() -> pd.DataFrame:
    return ARCHIVES["padchest"].read_catalog(REAL / "metadata")


@needs_real
@pytest.mark.real
def test_real_padchest_specific(real_padchest):
    table = build(label_set(min_images=1000), "padchest", real_padchest)
    labels = table.frame[list(table.classes)]
    assert (len(table.classes), len(table.frame), table.frame["patient_id"].nunique()) == (35, 85_455, 58_909)
    printed = reference.load("liz2022", "8", "specific")
    assert set(table.classes) == set(printed["label"]) - {"Global"}, "so means over all classes are over the same ones"
    assert (labels.sum(axis=1) == 12).sum() == 4
    assert (table.classes[0], labels.iloc[:, 0].sum()) == ("normal", 34_369)
    assert (table.classes[-1], labels.iloc[:, -1].sum()) == ("supra aortic elongation", 1_046)
    assert table.unknown == ("hypoexpansion basal", "lipomatosis")
    summary = counts(table)
    assert summary["lipomatosis"][0] == 1
    assert summary["hypoexpansion basal"][0] == 68
    assert summary[WITHOUT_LABELS][0] == 65 + 408  # `nan`, and lists of empty entries only
    more = build(label_set(min_images=200), "padchest", real_padchest)
    assert (len(more.classes), len(more.frame)) == (87, 90_268)


@needs_real
@pytest.mark.real
def test_real_padchest_general(real_padchest):
    table = build(label_set(min_images=200, grouping="general"), "padchest", real_padchest)
    assert (len(table.classes), len(table.frame)) == (58, 91_025)
    table = build(label_set(min_images=200, grouping="general", exclude=["exclude"]), "padchest", real_padchest)
    assert (len(table.classes), len(table.frame), table.frame["patient_id"].nunique()) == (57, 90_226, 61_420)


@needs_real
@pytest.mark.real
def test_real_padchest_as_table_10_groups_it(real_padchest):
    settings = label_set(
        min_images=200, grouping="general", two_parents="umbrella", padded_labels="ignore", padded_kept=["normal"]
    )
    table = build(settings, "padchest", real_padchest)
    assert (len(table.classes), len(table.frame), table.frame["patient_id"].nunique()) == (56, 90_815, 61_704)
    images = table.report.set_index("class")["images"]
    assert images[WITHOUT_LABELS] == 65 + 408, "as in the specific label set: what blanks lose is still a label"
    dropped = table.report[table.report["status"] == "too few images"]
    assert (images[table.classes[-1]], dropped["images"].max()) == (204, 196), "200 is an exact limit"
    four = {"nodule": 1937, "exclude": 799, "emphysema": 414, "azygos lobe": 303}  # no legible row of Table 10 has them
    assert images[list(four)].to_dict() == four
    assert (images["gynecomastia"], images["chronic changes"]) == (437, 4312)
    positive = table.frame[list(table.classes)] == 1
    left = [positive.drop(columns=[*pair]).any(axis=1).sum() for pair in combinations(four, 2)]
    assert max(left) == 90_579, "fewer than the paper's 90,687 images, so no two of the four are the two that it lacks"


@needs_real
@pytest.mark.real
def test_real_nih():
    frame = ARCHIVES["nih"].read_catalog(REAL / "metadata")
    table = build(label_set(views=["PA", "AP"], exclude=["No Finding"], without_class="keep_labelled"), "nih", frame)
    assert (len(table.classes), len(table.frame), table.frame["patient_id"].nunique()) == (14, 112_120, 30_805)
    assert (table.frame[list(table.classes)].sum(axis=1) == 0).sum() == 60_361
    assert len(build(label_set(views=["PA", "AP"]), "nih", frame).classes) == 15
