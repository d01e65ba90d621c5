"""The figures as a page for people."""

from typing import Any

GOALS: dict[str, Any] = {
    "augment_ratio": "at least 25",
    "feed_ratio": "at least 0.97",
    "decode_ratio": "at most 1.3",
    "resume_overhead": "at most 2%",
    "planning": {"demo": "at most 3 s", "papers": "at most 20 s"},
}


def table(results: dict[str, Any]) -> str:
    """A Markdown table of the ratios, and one of cost against size."""
    lines = ["| what | measured | goal | from |", "|---|--:|--:|---|"]
    if case := results.get("augment_ratio"):
        lines.append(
            f"| speed of the input path relative to the paper's `ImageDataGenerator` from PNG, 2 threads, 224 x 224 | {case['ratio']:.1f} | {GOALS['augment_ratio']} | "
            f"{case['ours']:,.0f} and {case['theirs']:,.0f} images/s |"
        )
        lines.append(
            f"| the same, with the generator told that the images are grey | {case['ratio_to_grey']:.1f} | | "
            f"{case['ours']:,.0f} and {case['theirs_grey']:,.0f} images/s |"
        )
    if case := results.get("feed_ratio"):
        for name, found in case["networks"].items():
            goal = "" if name == "one convolution" else GOALS["feed_ratio"]  # faster than any network that one would train
            lines.append(
                f"| speed of training relative to training on one resident batch, {name}, {case['device']} | {found['ratio']:.3f} | {goal} | "
                f"{found['real']:,.0f} and {found['resident']:,.0f} images/s |"
            )
    if case := results.get("decode_ratio"):
        lines.append(
            f"| time of ingest relative to decoding alone, 16-bit PNGs of 2,000 x 2,000, 2 threads | {case['ratio']:.2f} | {GOALS['decode_ratio']} | "
            f"{case['ours']:.1f} and {case['bare']:.1f} images/s |"
        )
    if case := results.get("resume_overhead"):
        lines.append(
            f"| saving the resume state of {case['network']} ({case['megabytes']:,.0f} MB) and its best network, as a share of an epoch of 59,753 "
            f"images, {case['device']} | {case['share']:.3%} | {GOALS['resume_overhead']} | {case['save']:.1f} s of {case['epoch']:,.0f} s "
            f"({case['rate']:,.1f} images/s) |"
        )
    for name, found in results.get("planning", {}).items():
        lines.append(
            f"| a dry run of {'config.yaml' if name == 'papers' else name} with all {found['jobs']} jobs done, without Snakemake's own start "
            f"| {found['seconds'] - found['alone']:.1f} s | {GOALS['planning'][name]} | {found['seconds']:.1f} and {found['alone']:.1f} s |"
        )
    if case := results.get("size"):
        lines += ["", "| stage | size | seconds | peak memory | time grows as |", "|---|--:|--:|--:|--:|"]
        for stage, found in case.items():
            for row in found["rows"]:
                last = row is found["rows"][-1]
                exponent = f"n^{found['exponent']:.2f}" if last else ""
                unit = "images" if stage == "ingest" else "rows"
                lines.append(
                    f"| {stage} | {row['count']:,} {unit} | {row['seconds']:.2f} | {row['megabytes']:,.0f} MB | {exponent} |"
                )
    return "\n".join(lines)


def page(results: dict[str, Any]) -> str:
    """docs/reference/benchmarks.md."""
    machine = results["machine"]
    return f"""# Benchmarks

Made by `make bench`. The figures are in [bench/results.json](../../bench/results.json), the measurements in [bench/cases.py](../../bench/cases.py).
Each ratio compares two things measured in turn in one run. Values are medians of several repeats, on synthetic radiographs. Machine:
{machine["cpu"]}, {machine["cores"]} cores, {machine["memory"]}; {machine["system"]}.

{table(results)}

- **Input path**: memory-mapped uint8 images, one warp and one lookup per image in a thread pool, with all of Table 2's augmentation. It is compared
  with reading the same images as 8-bit PNGs through Keras's `ImageDataGenerator`, as the paper does, in the three channels that its networks
  take. Here the network makes three channels of one, on the device.
- **Training**: on a CPU, tiny networks on one core, fed by the other one. The network of a single convolution is as fast as one feeding thread can
  be, so it shows what feeding costs. On a GPU, the paper's five networks in mixed precision.
- **Resume state**: all weights, moving statistics, optimiser slots and random states, written after every epoch, and the weights of the best
  epoch, as if every epoch were the best.
- **Size**: ingest reads hard-linked copies of a few hundred files. Split and metrics (100 bootstrap samples) use 14 classes.
"""
