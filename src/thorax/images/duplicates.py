"""The same radiograph under several names, found at ingest so that it is not both trained and tested on.

Two images are identical if their packed pixels are: a network sees the same, whatever the files' format, size or metadata. They are
similar if their perceptual hashes (`ImageHash`: signs of the lowest 16 x 16 frequencies, 256 bits) differ in few bits, as after
another compression, size or contrast.
"""

import hashlib
from collections.abc import Collection

import numpy as np
import pandas as pd

from thorax.images import decoding

# Different patients' films of NIH ChestX-ray14 (1,249 images here, 779,000 pairs) differ in at least 56 bits, and in 100,000 pairs
# of synthetic ones in at least 26. The same film differs in at most 12 after JPEG of quality 20, a quarter of the size, noise or a
# fifth more contrast; after a crop of 1% or more, or another gamma, often in more.
SIMILAR = 16

_SIDE = 16  # frequencies each way
_RESIZED = 4 * _SIDE  # pixels a side that the hash is of; ImageHash's own factor
_BITS = _SIDE * _SIDE


def fingerprints(packed: np.ndarray) -> tuple[str, str]:
    """Hexadecimal digest of an ingested image's pixels, (512, 512) uint8 with bright bones, and its perceptual hash."""
    import imagehash
    from PIL import Image

    small = Image.fromarray(decoding.resize(packed, _RESIZED, _RESIZED))
    digest = hashlib.blake2b(np.ascontiguousarray(packed).data, digest_size=16).hexdigest()
    return digest, str(imagehash.phash(small, hash_size=_SIDE))


def find(screened: pd.DataFrame) -> pd.DataFrame:
    """Find images that show the same in a table of `schemas.SCREENED`; return the columns of `schemas.DUPLICATES`, sorted.

    An image that is identical to others, or has their hash, is paired with the first of them by image_id; of images with
    different hashes, every similar pair is listed.
    """
    rows = screened[screened["ok"]].sort_values("image_id", ignore_index=True)
    unlike = rows.drop_duplicates("digest", ignore_index=True)
    hashes = unlike.drop_duplicates("phash", ignore_index=True)
    packed = np.frombuffer(bytes.fromhex("".join(hashes["phash"])), np.uint8).reshape(-1, _BITS // 8)
    first, second, bits = similar_pairs(packed, SIMILAR)
    names = hashes["image_id"].to_numpy(object)
    found = [
        _repeats(rows, "digest").assign(identical=True, bits=0),
        _repeats(unlike, "phash").assign(identical=False, bits=0),
        pd.DataFrame({"image_id": names[first], "other_id": names[second], "identical": False, "bits": bits}),
    ]
    return pd.concat(found, ignore_index=True).sort_values(["image_id", "other_id"], ignore_index=True)


def _repeats(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Every row whose value occurs in an earlier row, with the first such row."""
    first = rows.groupby(column)["image_id"].transform("first")
    again = first != rows["image_id"]
    return pd.DataFrame({"image_id": first[again], "other_id": rows.loc[again, "image_id"]})


def similar_pairs(hashes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of different hashes, (n, 32) uint8, that differ in at most `most` bits.

    The bits are divided into one more band than bits may differ, so such a pair is equal in at least one band, and only those
    pairs are compared (Norouzi et al. 2012). `most` is at least 4, so that a band has fewer than 63 bits. Returns the places of the
    first and the second of each pair, sorted, and how many bits differ, (k,) int each.
    """
    bits = np.unpackbits(hashes, axis=1)
    words = np.ascontiguousarray(hashes).view(np.uint64)
    bands, found = most + 1, [np.empty(0, np.int64)]
    for band in range(bands):
        keys = bits[:, band::bands] @ (1 << np.arange(len(range(band, _BITS, bands))))
        order = np.argsort(keys, kind="stable")
        keys, places, step = keys[order], np.arange(len(keys)), 1
        while places.size:  # of each key's first hash with its second, third, ..., of its second with its third, ...
            places = places[places + step < len(keys)]
            places = places[keys[places] == keys[places + step]]
            one, other = order[places], order[places + step]
            near = np.bitwise_count(words[one] ^ words[other]).sum(axis=1) <= most
            found.append(np.minimum(one, other)[near] * len(keys) + np.maximum(one, other)[near])
            step += 1
    first, second = np.divmod(np.unique(np.concatenate(found)), max(len(hashes), 1))
    return first, second, np.bitwise_count(words[first] ^ words[second]).sum(axis=1).astype(np.int64)


def patient_groups(patients: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Group patients whose images show the same, and who must stay in one part.

    An image (image_id and patient_id of `patients`) has the group of the first patient, by identifier, of those that `pairs`
    (image_id and other_id) link, also through images of other patients: `find` pairs copies with the first only.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, of_image = np.unique(patients["patient_id"].to_numpy(object).astype(str), return_inverse=True)
    columns = (patients["image_id"], pairs["image_id"], pairs["other_id"])
    images = pd.Index(pd.concat(columns).unique())
    owned, first, other = (images.get_indexer(column) + len(names) for column in columns)  # nodes: patients, then images
    ends = np.concatenate([of_image, first]), np.concatenate([owned, other])
    nodes = len(names) + len(images)
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][: len(names)]
    first_name = pd.Series(np.arange(len(names))).groupby(component).transform("min").to_numpy()
    return pd.Series(names[first_name][of_image], index=patients.index, dtype=object)


def among(pairs: pd.DataFrame, images: Collection[str]) -> pd.DataFrame:
    """The pairs of `schemas.DUPLICATES` among some images, as if only they had been compared."""
    for _ in range(2):  # identical images have their first, and firsts with one hash have theirs
        lost = pairs[(pairs["bits"] == 0) & pairs["other_id"].isin(images) & ~pairs["image_id"].isin(images)]
        copy = lost.groupby("image_id")["other_id"].min().to_dict()
        renamed = {column: [copy.get(image, image) for image in pairs[column]] for column in ("image_id", "other_id")}
        pairs = pairs.assign(**renamed)
    found = pairs[pairs["image_id"].isin(images) & pairs["other_id"].isin(images)]
    return found[found["image_id"] != found["other_id"]]
