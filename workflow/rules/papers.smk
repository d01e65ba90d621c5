from functools import cache

BEYOND = "beyond"  # the page of what no paper shows, and of experiments without a paper

# Every kind of table and figure of the report: its heading, where it lies, and the caption of a figure under workflow/report; tables
# have their own. A path is of the first kind that fits. A page has what `report_parts` makes of its experiments, in this order where
# its paper gives none.
KINDS = {
    "screening": ("Originals that were read", "results/tables/screening.html", None),
    "summary": ("Label sets and splits", "results/tables/summary.html", None),
    "classes": ("Classes kept and dropped", "results/tables/classes/{label_set}.html", None),
    "quality": ("Counts against quotas", "results/tables/quality/{split}.html", None),
    "labels": ("Label distribution", "results/figures/labels/{split}/{label_set}.html", "labels"),
    "shares": ("Label shares", "results/figures/{experiment}/shares.html", "shares"),
    "cooccurrence": ("Classes that come together", "results/figures/cooccurrence/{label_set}.html", "cooccurrence"),
    "cooccurrence_named": ("Classes that come together", "results/figures/{experiment}/cooccurrence.html", "cooccurrence"),
    "terms": ("Section of the term tree", "results/figures/terms/{label_set}.html", "terms"),
    "lungs": ("From radiograph to network input", "results/figures/lungs/{image_set}.html", "lungs"),
    "per_class": ("Results per class", "results/tables/{experiment}/per_class.html", None),
    "global": ("Results over all classes", "results/tables/{experiment}/global.html", None),
    "beside_per_class": ("Each class beside the paper", "results/tables/{experiment}/beside_per_class.html", None),
    "beside_global": ("All classes beside the paper", "results/tables/{experiment}/beside_global.html", None),
    "statements": ("What the text says", "results/tables/{experiment}/statements.html", None),
    "systems": ("Other published systems", "results/tables/systems/{archive}/systems.html", None),
    "system_classes": ("Other published systems, per class", "results/tables/systems/{archive}/classes.html", None),
    "ablation": ("Variants side by side", "results/tables/ablations/{ablation}/ablation.html", None),
    "epochs": ("Test results after every epoch", "results/figures/{experiment}/epochs.html", "epochs"),
    "training": ("Losses by epoch", "results/figures/{experiment}/training.html", "training"),
    "roc": ("ROC curves", "results/figures/{experiment}/roc.html", "roc"),
    "heatmaps": ("Heatmaps", "results/figures/{experiment}/heatmaps.html", "heatmaps"),
    "attention": ("Attention of the networks", "results/figures/{experiment}/attention.html", "attention"),
    "several_classes": ("Several classes of one radiograph", "results/figures/{experiment}/classes.html", "several_classes"),
    "thresholds": ("Thresholds tuned per class", "results/tables/{experiment}/thresholds.html", None),
    "rules": ("Rules of decision", "results/tables/{experiment}/rules.html", None),
    "comparison_per_class": ("Side by side, per class", "results/tables/comparisons/{comparison}/per_class.html", None),
    "comparison": ("Side by side", "results/tables/comparisons/{comparison}/global.html", None),
    "cross_matrix": ("Tested on other archives", "results/tables/cross/{cross}/matrix.html", None),
    "cross_figure": ("Tested on other archives, drawn", "results/figures/cross/{cross}.html", "cross_matrix"),
    "cross_classes": ("Tested on other archives, per class", "results/tables/cross/{cross}/classes.html", None),
    "cascade_per_class": ("Cascade, per class", "results/tables/{cascade}/{threshold_rule}/per_class.html", None),
    "cascade": ("Cascade", "results/tables/{cascade}/{threshold_rule}/global.html", None),
}
# Kinds that go to the page beyond the papers, unless a paper's own order names them
BEYOND_KINDS = {kind for kind in KINDS if kind.startswith(("thresholds", "rules", "comparison", "cross", "cascade"))}

# A paper's own order. Kinds of one line are shown together, experiment by experiment; what it does not name follows.
ORDERS = {
    "liz2022": [
        "lungs",
        "terms",
        "summary",
        "labels",
        "per_class global beside_per_class beside_global statements",
        "ablation",
        "heatmaps",
        "several_classes",
        "system_classes systems",
        "training",
    ],
    BEYOND: [
        "comparison comparison_per_class",
        "cascade cascade_per_class",
        "cross_matrix cross_figure cross_classes",
        "thresholds rules",
    ],
    "saturi2025": [
        "labels",
        "lungs",
        "heatmaps",
        "several_classes",
        "training",
        "per_class global beside_per_class beside_global",
        "thresholds rules",
    ],
    "kejriwal": [
        "labels",
        "cooccurrence_named",
        "cooccurrence",
        "training",
        "beside_per_class beside_global",
        "roc",
        "attention",
        "rules global per_class",
    ],
    "beltran2022": [
        "shares",
        "labels",
        "epochs",
        "training",
        "rules",
        "global per_class beside_per_class beside_global",
    ],
}

# The paper's number of a table or figure; where it has several, of an experiment's by the variant of `beside`, in the paper's order,
# and of a label set's by its grouping
NUMBERS = {
    "liz2022": {
        "lungs": "Figure 3",
        "terms": {"general": "Figure 4"},
        "summary": "Table 3",
        "labels": {"specific": "Figure 5", "general": "Figure 6"},
        "per_class": {"specific-raw": "Table 4", "specific-noaug": "Table 6", "specific": "Table 8", "general": "Table 10"},
        "global": {"specific-raw": "Table 5", "specific-noaug": "Table 7", "specific": "Table 9", "general": "Table 11"},
        "ablation": "Tables 5, 7 and 9",
        "statements": {"specific-noaug": "Section 5.1", "specific": "Section 5.2", "general": "Section 5.2"},
        "system_classes": "Table 12",
        "heatmaps": {"specific": "Figures 7 to 9"},
    },
    "saturi2025": {"heatmaps": "Figure 2"},
    "kejriwal": {"cooccurrence_named": "Figure 2", "beside_per_class": "Figure 3", "roc": "Figure 4"},
    "beltran2022": {"shares": "Figure 1", "epochs": "Figure 2", "training": "Figure 3"},
}


def pages():
    return list(dict.fromkeys(report_parts()))


def papers():
    """The experiments of the run by the page that shows them, in the paper's order of variants, and then that of the run."""
    found = {}
    for name in study.run:
        found.setdefault(study.experiments[name].paper or BEYOND, []).append(name)
    for paper, names in found.items():
        variants = list(NUMBERS.get(paper, {}).get("per_class", {}))
        names.sort(key=lambda name: variants.index(variant(name)) if variant(name) in variants else len(variants))
    if any(kind_of(page)[0] in BEYOND_KINDS for page in pages()):
        found.setdefault(BEYOND, [])
    return found


def paper_pages():
    return ["results/tables/overview.html", *(f"results/papers/{paper}.html" for paper in papers())] if study.run else []


def variant(experiment):
    """Which of its paper's experiments it repeats; None without published numbers."""
    beside = study.experiments[experiment].beside
    return beside.variant if beside else None


def grouping(label_set):
    """Specific or general; None of a label set that no paper has.

    Such are those inside another, and a general one where another one of the data set follows the paper in the labels it ignores.
    """
    block = study.label_sets[label_set]
    others = [other for other in study.label_sets.values() if (other.dataset, other.grouping) == (block.dataset, "general")]
    cleaner = block.grouping == "general" and any(other.padded_labels != block.padded_labels for other in others)
    return None if block.inside or (cleaner and block.padded_labels == "count") else block.grouping


@cache
def kind_of(page):
    """The kind of a page and the names in its path."""
    for kind, (_, pattern, _) in KINDS.items():
        parts = re.split(r"\{(\w+)\}", pattern)
        expression = "".join(rf"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        if found := re.fullmatch(expression, page):
            return kind, found.groupdict()
    raise WorkflowError(f"{page} is of no kind in workflow/rules/papers.smk: add its kind to KINDS.")


def belongs(names, experiments):
    """Whether all names in a page's path are of some experiments; an ablation is if all its experiments are."""
    blocks = [study.experiments[name] for name in experiments]
    splits = {block.split for block in blocks}
    known = {
        "experiment": set(experiments),
        "split": splits,
        "label_set": {block.label_set for block in blocks}
        | {name for split in splits for name in study.splits[split].label_sets},
        "image_set": {block.image_set for block in blocks},
        "archive": {study.datasets[dataset_of(name)].archive for name in experiments if study.experiments[name].paper},
        "ablation": {name for name, ablation in study.ablations.items() if set(ablation.experiments) <= set(experiments)},
    }
    return all(value in known.get(name, ()) for name, value in names.items())


def sections(paper):
    """The sections of a paper's page in order, as `thorax paper-page` takes them."""
    experiments = papers()[paper]
    own_label_sets = {study.experiments[name].label_set for name in experiments}
    named = [line.split() for line in ORDERS.get(paper, [])]
    lines = named + [[kind] for kind in KINDS if not any(kind in line for line in named) and kind not in BEYOND_KINDS]
    found = []
    for line in lines:
        shown = []
        for page in pages():
            kind, names = kind_of(page)
            everybodys = paper == BEYOND and kind in BEYOND_KINDS
            if kind in line and (everybodys or (experiments and belongs(names, experiments))):
                name = names.get("experiment")
                first = experiments.index(name) if name in experiments else len(experiments)
                order = (first, names.get("label_set") not in own_label_sets, line.index(kind), len(shown))
                if everybodys and name:
                    order = (study.run.index(name), False, line.index(kind), 0)
                shown.append((order, section(paper, kind, names, page)))
        found += [entry for _, entry in sorted(shown, key=lambda item: item[0])]
    return found


def section(paper, kind, names, page):
    heading, _, caption = KINDS[kind]
    number = NUMBERS.get(paper, {}).get(kind, "")
    if isinstance(number, dict):
        which = variant(names["experiment"]) if "experiment" in names else grouping(names["label_set"])
        number = number.get(which, "")
    titled = {
        "experiment": study.experiments,
        "ablation": study.ablations,
        "cascade": study.cascades,
        "comparison": study.comparisons,
        "cross": study.cross,
    }
    splits = [split for split in study.splits.values() if names.get("label_set") in (*split.label_sets, *split.also_for)]
    subjects = [
        titled[name][value].title if name in titled else value
        for name, value in names.items()
        if name != "split" or len(splits) != 1  # whose label sets are in no other split needs no name
    ]
    return {
        "heading": ": ".join(filter(None, [f"{number}. {heading}" if number else heading, ", ".join(subjects)])),
        "page": page,
        "caption": caption,
    }


def told(experiments):
    """Experiments with the blocks that they name, as the report's verbs take them."""
    found = {}
    for name in experiments:
        experiment = study.experiments[name]
        blocks = {
            "experiment": experiment,
            "label_set": study.label_sets[experiment.label_set],
            "split": study.splits[experiment.split],
            "image_set": study.image_sets[experiment.image_set],
            "dataset": study.datasets[dataset_of(name)],
        }
        found[name] = {key: block.model_dump(mode="json", exclude_defaults=True) for key, block in blocks.items()}
    return found


def paper_settings(wildcards):
    """What a page says: of the page beyond the papers every experiment counts, as each has tables there."""
    own = papers()[wildcards.paper]
    shown = study.run if wildcards.paper == BEYOND else own
    return json.dumps(
        {
            "paper": None if wildcards.paper == BEYOND else wildcards.paper,
            "data": {study.experiments[name].title: study.experiments[name].data for name in shown},
            "studies": told(own),
            "sections": sections(wildcards.paper),
        }
    )


def captions(wildcards):
    names = sorted({entry["caption"] for entry in sections(wildcards.paper) if entry["caption"]})
    return [os.path.normpath(f"{HERE}/workflow/report/{name}.rst") for name in names]
