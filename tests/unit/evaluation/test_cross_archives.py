"""Cross-dataset evaluation: the reviewed mapping, united labels, cells by hand and against scikit-learn, what is refused."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from thorax import archives, cli, config
from thorax.archives import chexpert
from thorax.errors import ThoraxError
from thorax.evaluation import cross_archives
from thorax.evaluation.cross_archives import Problem
from thorax.labels.term_tree import TermTree
from thorax.phantom.findings import OTHER_NAMES
from thorax.phantom.nih import NO_FINDING
from thorax.report.figures.cross_archive import cross_figure, draw_matrix
from thorax.report.tables import cross_archive
from thorax.storage import schemas, store

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "data" / "metadata"
NIH = {name for row in OTHER_NAMES for name in row["nih"].split("|") if name} | {NO_FINDING}  # all fourteen findings are drawn


def rows() -> list[dict[str, str]]:
    with cross_archives.CLASSES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_name_of_the_mapping_is_a_label_of_its_archive():
    assert len(NIH) == 15
    known = {"padchest": set(TermTree.load().parents), "nih": NIH, "chexpert": set(chexpert.LABELS)}
    for archive, vocabulary in known.items():
        named = [label for united in cross_archives.mapped(archive).values() for label in united]
        assert set(named) <= vocabulary, set(named) - vocabulary
        assert len(named) > 10
    assert {label for united in cross_archives.mapped("nih").values() for label in united} == NIH  # all are decided upon


@pytest.mark.real
@pytest.mark.parametrize("archive", ["padchest", "nih", "chexpert"])
def test_the_real_archives_have_the_labels(archive):
    if not REAL.is_dir():
        pytest.skip("no metadata of real archives beside the checkout")
    frame = archives.ARCHIVES[archive].read_catalog(REAL)
    there = set(frame["positive"].explode().dropna())
    named = {label for united in cross_archives.mapped(archive).values() for label in united}
    absent = {"COVID 19", "COVID 19 uncertain", "viral pneumonia", "hemothorax"}  # in the tree, but in no report of 2019
    assert named - there - absent == set()


def test_a_class_is_shared_by_two_archives_at_least_and_each_choice_has_its_reason():
    for row in rows():
        assert sum(bool(row[archive]) for archive in ("padchest", "nih", "chexpert")) >= 2, row["class"]
        assert row["note"].endswith("."), row["class"]
        assert not re.search(r"\|\||^\||\|$|\s\||\|\s", "".join(row[name] for name in ("padchest", "nih", "chexpert")))
    names = [row["class"] for row in rows()]
    assert len(names) == len(set(names))


def test_no_label_counts_for_two_classes_but_one_that_is_both():
    for archive in ("padchest", "nih", "chexpert"):
        named = pd.Series([label for united in cross_archives.mapped(archive).values() for label in united])
        assert set(named[named.duplicated()]) == ({"hydropneumothorax"} if archive == "padchest" else set())


def test_classes_are_made_of_the_labels_that_a_label_set_has():
    found = cross_archives.mapped("padchest", ["normal", "laminar atelectasis", "atelectasis", "nodule", "scoliosis"])
    assert found == {"Atelectasis": ("atelectasis", "laminar atelectasis"), "Lung Lesion": ("nodule",)}
    assert cross_archives.mapped("nih", ["Mass", "Nodule", "No Finding"]) == {
        "Lung Lesion": ("Nodule", "Mass"),
        "No Finding": ("No Finding",),
    }


def test_an_archive_without_a_column_is_refused():
    for name in ("own", "note", "class"):
        with pytest.raises(ThoraxError, match=rf"shared_classes\.csv has no column for archive '{name}'"):
            cross_archives.mapped(name)


def test_positive_wins_then_doubt_then_no():
    truth = pd.DataFrame({"a": [1, 1, 1, 0, 0, -1], "b": [1, 0, -1, 0, -1, -1], "c": [0, 0, 1, 1, -1, 0]})
    united = cross_archives.unite_labels(truth, {"both": ("a", "b"), "one": ("c",)})
    assert united["both"].tolist() == [1, 1, 1, 0, -1, -1]
    assert united["one"].tolist() == truth["c"].tolist()
    assert (united.dtypes == "int8").all()


def test_the_largest_probability_of_the_labels_counts():
    scores = pd.DataFrame({"a": [0.1, 0.9], "b": [0.3, 0.2], "c": [0.5, 0.5]})
    assert cross_archives.unite_scores(scores, {"both": ("a", "b"), "one": ("c",)}).to_dict("list") == {
        "both": [0.3, 0.9],
        "one": [0.5, 0.5],
    }


PADCHEST = ["cardiomegaly", "laminar atelectasis", "atelectasis", "emphysema", "normal"]
NIH_CLASSES = ["Atelectasis", "Cardiomegaly", "Emphysema", "No Finding", "Nodule"]
CHEXPERT = ["No Finding", "Atelectasis", "Cardiomegaly", "Lung Lesion", "Edema"]


def problem(archive: str, classes: list[str], seed: int, images: int = 120, ignored: float = 0.0) -> Problem:
    """Random labels; two images of each patient."""
    rng = np.random.default_rng(seed)
    matrix = (rng.random((images, len(classes))) < 0.3).astype(np.int8)
    matrix[rng.random(matrix.shape) < ignored] = -1
    frame = pd.DataFrame(matrix, columns=classes)
    frame.insert(0, "image_id", [f"{archive}{index:03}" for index in range(images)])
    frame.insert(1, "patient_id", [f"{archive}{index // 2:03}" for index in range(images)])
    return Problem(archive, frame)


def three() -> dict[str, Problem]:
    return {
        "p": problem("padchest", PADCHEST, 1),
        "n": problem("nih", NIH_CLASSES, 2),
        "c": problem("chexpert", CHEXPERT, 3, ignored=0.2),
    }


def random_scores(problems: dict[str, Problem]) -> dict[tuple[str, str], pd.DataFrame]:
    rng = np.random.default_rng(9)
    scores = {}
    for trained, model in problems.items():
        for tested, test in problems.items():
            classes = schemas.class_columns(model.labels)
            scores[trained, tested] = pd.DataFrame(rng.random((len(test.labels), len(classes))).round(2), columns=classes)
    return scores


def test_cells_are_those_of_scikit_learn():
    problems = three()
    scores = random_scores(problems)
    found = cross_archives.cross_metrics(problems, scores, replicates=50).set_index(["trained_on", "tested_on", "class"])
    truth, score = problems["c"].labels, scores["p", "c"]
    known = (truth["Atelectasis"] >= 0).to_numpy()
    atelectasis = roc_auc_score(truth["Atelectasis"][known], score[["laminar atelectasis", "atelectasis"]].max(axis=1)[known])
    known = (truth["Cardiomegaly"] >= 0).to_numpy()
    cardiomegaly = roc_auc_score(truth["Cardiomegaly"][known], score["cardiomegaly"][known])
    assert found.loc[("p", "c", "Atelectasis"), "auc"] == pytest.approx(atelectasis)
    assert found.loc[("p", "c", "Cardiomegaly"), "auc"] == pytest.approx(cardiomegaly)
    assert found.loc[("p", "c", "Global"), "auc"] == pytest.approx((atelectasis + cardiomegaly) / 2)
    assert found.loc[("p", "c", "Cardiomegaly"), "images"] == known.sum() < 120
    assert found.loc[("p", "c", "Global"), "images"] == 120

    truth, score = problems["p"].labels, scores["n", "p"]
    either = (truth[["laminar atelectasis", "atelectasis"]] == 1).any(axis=1)
    assert found.loc[("n", "p", "Atelectasis"), "auc"] == pytest.approx(roc_auc_score(either, score["Atelectasis"]))
    assert found.loc[("n", "p", "Atelectasis"), "n_positive"] == either.sum()
    assert found.loc[("n", "p", "Atelectasis"), "labels"] == "atelectasis|laminar atelectasis"
    inside = found[found["auc"].notna()]
    assert ((inside["low"] <= inside["auc"]) & (inside["auc"] <= inside["high"])).all()


def test_each_pair_has_the_classes_that_both_know_and_means_are_over_those_of_all():
    found = cross_archives.cross_metrics(three(), random_scores(three()), replicates=1)
    of = lambda *pair: list(found[(found["trained_on"] == pair[0]) & (found["tested_on"] == pair[1])]["class"])
    assert of("p", "n") == of("n", "p") == ["Atelectasis", "Cardiomegaly", "Emphysema", "Global"]
    assert of("n", "c") == of("c", "n") == ["Atelectasis", "Cardiomegaly", "Lung Lesion", "No Finding", "Global"]
    assert of("p", "c") == ["Atelectasis", "Cardiomegaly", "Global"]
    assert of("c", "c") == ["Atelectasis", "Cardiomegaly", "Edema", "Lung Lesion", "No Finding", "Global"]
    assert set(found.loc[found["averaged"], "class"]) == {"Atelectasis", "Cardiomegaly"}


def test_a_class_that_one_test_part_cannot_measure_is_in_no_mean():
    problems = three()
    blank = problems["n"].labels.assign(Cardiomegaly=np.int8(0))
    problems["n"] = Problem("nih", blank)
    found = cross_archives.cross_metrics(problems, random_scores(problems), replicates=5).set_index(
        ["trained_on", "tested_on", "class"]
    )
    assert np.isnan(found.loc[("p", "n", "Cardiomegaly"), "auc"])
    assert found.loc[("p", "c", "Cardiomegaly"), "auc"] > 0
    for pair in (("p", "n"), ("p", "c"), ("p", "p")):
        assert found.loc[(*pair, "Global"), "auc"] == found.loc[(*pair, "Atelectasis"), "auc"]
    settings = config.CrossEvaluation(title="T", experiments={"p": "m", "n": "m", "c": "m"})
    table, _ = cross_archive.class_table(cross_archive.Evaluated(settings, problems, found.reset_index(), "phantom"))
    assert "Left out of all means, since a test part lacks positives or negatives: Cardiomegaly." in table.notes
    row = dict(table.rows)["Cardiomegaly"]
    assert [cell.text for cell in row][4:8] == ["0", "–", "–", "–"]


def test_where_no_class_is_shared_somebody_must_choose_others():
    problems = {"p": problem("padchest", ["normal", "cardiomegaly"], 1), "n": problem("nih", ["Hernia", "Mass"], 2)}
    with pytest.raises(ThoraxError, match="label sets of p, n share no class of shared_classes"):
        cross_archives.cross_metrics(problems, random_scores(problems), replicates=1)


def write(folder: Path, problems: dict[str, Problem]) -> list[str]:
    """Tables as the workflow has them, and the arguments of the verb: p's model is an ensemble, the others' are networks."""
    options = {"--archives": [], "--labels": [], "--splits": [], "--predictions": [], "--ensembles": []}
    for name, held in problems.items():
        extra = held.labels.iloc[:3].assign(image_id=["x1", "x2", "x3"])  # of other parts
        frame = pd.concat([extra, held.labels], ignore_index=True)
        store.write_table(frame, folder / f"{name}.labels.parquet", schemas.labels_schema(schemas.class_columns(frame)))
        split = frame[["image_id", "patient_id"]].assign(split=["train", "val", "val", *["test"] * len(held.labels)])
        store.write_table(split.iloc[::-1], folder / f"{name}.split.parquet", schemas.SPLITS)
        options["--archives"].append(f"{name}={held.archive}")
        options["--labels"].append(f"{name}={folder / name}.labels.parquet")
        options["--splits"].append(f"{name}={folder / name}.split.parquet")
    for (trained, tested), scores in random_scores(problems).items():
        frame = scores if trained == "p" else np.log(scores.clip(0.001, 0.999) / (1 - scores.clip(0.001, 0.999)))
        ids = problems[tested].labels["image_id"]
        frame = frame.assign(image_id=ids, split="test").sample(frac=1, random_state=0)
        if trained == tested:
            frame = pd.concat([frame, frame.head(2).assign(image_id=["x2", "x3"], split="val")])
        path = folder / f"{trained}@{tested}.parquet"
        store.write_table(frame, path, schemas.scores_schema(list(scores.columns)))
        options["--ensembles" if trained == "p" else "--predictions"].append(f"{trained}@{tested}={path}")
    settings = '{"experiments": {"c": "m", "n": "m", "p": "CTP"}, "title": "Three"}'  # by name, as rules write it
    flat = [part for option, values in options.items() for part in (option, *values)]
    return [
        "cross-table",
        "--settings",
        settings,
        "--provenance",
        "phantom",
        *flat,
        "--replicates",
        "20",
        "--out",
        str(folder / "out"),
    ]


def test_the_verbs_write_tables_and_figure(tmp_path):
    problems = three()
    assert cli.main(write(tmp_path, problems)) == 0
    expected = cross_archives.cross_metrics(problems, random_scores(problems), replicates=20)
    matrix = pd.read_csv(tmp_path / "out/matrix.csv")
    means = expected[expected["class"] == "Global"]
    assert matrix["auc"].to_numpy() == pytest.approx(means["auc"].to_numpy(), abs=2e-3)  # clipped logits tie
    assert set(matrix["classes"]) == {"Atelectasis|Cardiomegaly"}
    assert (matrix["images"] == 120).all()
    assert list(matrix["model"]) == ["CTP"] * 3 + ["m"] * 6
    assert set(matrix["provenance"]) == {"phantom"}
    classes = pd.read_csv(tmp_path / "out/classes.csv")
    assert len(classes) == (expected["class"] != "Global").sum()

    text = (tmp_path / "out/matrix.md").read_text()
    assert "Phantom radiographs" in text
    diagonal = matrix.iloc[[0, 4, 8]]["auc"]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == "| Trained on | PadChest | NIH ChestX-ray14 | CheXpert |"
    assert [rows[line].split(" | ")[column].strip("| ") for line, column in ((2, 1), (3, 2), (4, 3))] == [
        f"**{value:.3f}**" for value in diagonal
    ]
    assert rows[5] == "| Test images | 120 | 120 | 120 |"
    for name in ("matrix", "classes"):
        for suffix in ("html", "tex"):
            assert (tmp_path / "out" / f"{name}.{suffix}").stat().st_size > 500
    page = (tmp_path / "out/classes.html").read_text()
    assert "truth: atelectasis, laminar atelectasis" in page
    assert "Atelectasis *" in page

    figure = cross_figure(tmp_path / "out/matrix.csv", {"p": "padchest", "n": "nih", "c": "chexpert"}, "Three")
    assert len(figure.axes[0].patches) == 3


def test_the_figure_shows_the_numbers(tmp_path):
    values = pd.DataFrame(
        {"trained_on": ["p", "p", "n", "n"], "tested_on": ["p", "n", "p", "n"], "auc": [0.9, 0.712, np.nan, 0.85],
         "low": [0.8, 0.6, np.nan, 0.8], "high": [0.95, 0.8, np.nan, 0.9], "classes": "Edema|Hernia", "provenance": "phantom"}
    )  # fmt: skip
    figure = draw_matrix(values, {"p": "padchest", "n": "nih"}, "Title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0.900", "0.80–0.95", "0.712", "0.60–0.80", "–", "0.850", "0.80–0.90"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["PadChest", "NIH ChestX-ray14"]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(np.nan), [[0.9, 0.712], [np.nan, 0.85]])
    assert [patch.get_bbox().bounds for patch in figure.axes[0].patches] == [
        (-0.5, -0.5, 1, 1),
        (0.5, 0.5, 1, 1),
    ]  # the diagonal
    assert "Edema, Hernia" in figure.get_suptitle()
    assert "Phantom" in figure.get_suptitle()


def test_tables_that_do_not_fit_are_named(tmp_path, capsys):
    problems = three()
    arguments = write(tmp_path, problems)

    def refused(*given: str) -> str:
        assert cli.main(list(given)) == 1
        return capsys.readouterr().err

    without = [part for part in arguments if not part.startswith("p@n=")]
    assert "p@n is neither under --predictions nor under --ensembles" in refused(*without)
    unlabelled = [part for part in arguments if not part.startswith(f"n={tmp_path / 'n'}.labels")]
    assert "Experiment 'n' is not under --labels" in refused(*unlabelled)
    place = arguments.index("n=nih")
    assert "'x' is under --archives, but is not an experiment" in refused(*arguments[:place], "x=nih", *arguments[place:])
    swapped = [part.replace("n=nih", "n=elsewhere") for part in arguments]
    assert "has no column for archive 'elsewhere'" in refused(*swapped)
    table = store.read_table(tmp_path / "n@c.parquet")
    store.write_table(table.iloc[1:], tmp_path / "n@c.parquet", schemas.scores_schema(NIH_CLASSES))
    assert "n@c.parquet has no row for image" in refused(*arguments)
    renamed = table.rename(columns={"Nodule": "Mass"})
    store.write_table(renamed, tmp_path / "n@c.parquet", schemas.scores_schema(schemas.class_columns(renamed)))
    assert "n@c.parquet and its label set do not have the same classes ('Mass' is in one only)" in refused(*arguments)
    split = store.read_table(tmp_path / "c.split.parquet")
    store.write_table(split.assign(split="train"), tmp_path / "c.split.parquet", schemas.SPLITS)
    assert "gives no image of" in refused(*arguments)
    store.write_table(split.iloc[1:], tmp_path / "c.split.parquet", schemas.SPLITS)
    assert "has no row for image" in refused(*arguments)


CASE = yaml.safe_load((ROOT / "tests/workflow/cross/config.yaml").read_text())


def refusal(*changes: tuple) -> str:
    settings = yaml.safe_load((ROOT / "tests/workflow/cross/config.yaml").read_text())
    for *path, value in changes:
        block = settings
        for key in path[:-1]:
            block = block[key]
        block[path[-1]] = value
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, settings, "x.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_compared_is_refused():
    where = "x.yaml: cross.archives.experiments"
    assert refusal(("image_sets", "nih", "size", 64)) == (
        f"{where}.on-nih: its images have size: 64, those of 'on-padchest' have size: 32; correct it."
    )
    assert "on-chexpert: its images have contrast: clahe" in refusal(("image_sets", "chexpert", "contrast", "clahe"))
    assert refusal(("cross", "archives", "experiments", "on-nih", "CTP")).startswith(
        f"{where}.on-nih: 'CTP' is neither a member nor an ensemble of on-nih"
    )
    votes = {"rule": "ptc_lw", "members": ["first", "second"]}
    assert "'CTP' is an ensemble of rule ptc_lw" in refusal(("experiments", "on-padchest", "ensembles", "CTP", votes))
    assert refusal(("cross", "archives", "experiments", "elsewhere", "first")).startswith(f"{where}: 'elsewhere' is not in exp")
    again = {**CASE["experiments"]["on-nih"], "title": "again"}
    changes = (("experiments", "again", again), ("cross", "archives", "experiments", "again", "first"))
    assert refusal(*changes).startswith(f"{where}.again: it is of archive nih, as 'on-nih' is")
    assert "on-chexpert: it has another provenance" in refusal(("experiments", "on-chexpert", "provenance", "sample"))
    own = (("datasets", "nih", "archive", "own"), ("datasets", "nih", "phantom", None))
    assert "on-nih: it is of an archive of your own" in refusal(*own)
    assert "cross.archives.experiments: Dictionary should have at least 2" in refusal(("cross", "archives", "experiments", {}))


def test_the_shipped_evaluation_shares_the_classes_that_others_report():
    """Irvin et al. 2019 compete on five; all of them are in the three label sets, if the archives are whole."""
    study = config.load(ROOT / "config.yaml")
    experiments = [study.experiments[name] for name in study.cross["chest-archives"].experiments]
    archives = [study.datasets[study.label_sets[experiment.label_set].dataset].archive for experiment in experiments]
    assert archives == ["padchest", "nih", "chexpert"]
    common = set.intersection(*(set(cross_archives.mapped(archive)) for archive in archives))
    assert common == {
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Pneumonia",
        "Pneumothorax",
        "Lung Lesion",
    }
