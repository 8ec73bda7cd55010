"""Crops compared with reference images of logos: local features, an affine map that most of them agree on, correlation.

Of the features that OpenCV has, ORB kept apart logos and all else best on small and compressed signs, at a fifth of
the time that SIFT takes (docs/brands.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import schemas
from transforms.core.table_stage import TableInput, TableOutput
from transforms.frames.image import Gray

_HEIGHT = 96
"""Height in pixels to which crops are brought; that of references is less, since crops have a margin."""

_REFERENCE = 64
_LONGEST = 384
_RATIO = 0.85
"""Of the distances of a feature to its nearest and second nearest ones of a reference: the most that is clear."""

_NEAR = 0.045
"""How far a feature may be from where the map takes it, as a share of the height of the crop."""

_LEAST = 4
_STRETCH = 2.5
_SCALES = (0.25, 3.0)
_MATCHER = cv2.BFMatcher(cv2.NORM_HAMMING)


@dataclass(frozen=True)
class LogoReference:
    """A reference image of a logo: its luma (H, W) uint8, where it is opaque (H, W) uint8, and its features."""

    brand: str
    name: str
    gray: Gray
    mask: Gray
    points: npt.NDArray[np.float32]
    features: npt.NDArray[np.uint8]


class Likeness(NamedTuple):
    """How much a crop is like a logo.

    `points`: features on which both agree, each place of the logo counted once; `correlation`: of their luma, -1..1,
    of the part of the logo that is in the crop, `inside`: its share; `begins`, `ends`, `height_share`: where it is in
    the crop and how much of its height it has, 0..1.
    """

    brand: str
    logo: str
    points: int
    correlation: float
    inside: float
    begins: float
    ends: float
    height_share: float


def _detector() -> cv2.ORB:
    return cv2.ORB.create(nfeatures=400, scaleFactor=1.2, edgeThreshold=8, patchSize=24, fastThreshold=8)


def references(rows: Iterable[Mapping[str, Any]]) -> list[LogoReference]:
    """Return the references of rows of `brands`: of each logo as it is, and of its negative.

    Images with too few features to be found anywhere are left out; `few_features` finds them.
    """
    found = []
    for row in sorted(rows, key=lambda each: str(each["brand"])):
        for logo in row["logos"]:
            decoded = _decoded(logo["image"])
            if decoded is None:
                continue
            gray, mask = decoded
            for luma in (gray, np.asarray(255 - gray, np.uint8)):
                points, features = _features(luma)
                if len(points) >= _LEAST:
                    found.append(LogoReference(row["brand"], logo["name"], luma, mask, points, features))
    return found


def few_features(image: bytes, least: int = 12) -> bool:
    """Return whether an image of a logo has too few features for a logo to be distinguished from others by them."""
    decoded = _decoded(image)
    return decoded is None or len(_features(decoded[0])[0]) < least


def _decoded(image: bytes) -> tuple[Gray, Gray] | None:
    """Return the luma and the opaque part of an image, reduced to the size of references."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    if pixels.dtype != np.uint8:
        pixels = np.asarray(pixels // 257, np.uint8)
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        mask = np.ascontiguousarray(pixels[..., 3])
        # What is transparent is as bright as the logo is dark: its outline has to be seen.
        inside = pixels[..., :3][mask > 127]
        back = 255 if not len(inside) or inside.mean() < 128 else 0
        part = mask[..., None].astype(np.float32) / 255
        pixels = np.asarray(pixels[..., :3] * part + back * (1 - part), np.uint8)
    gray = pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY), np.uint8)
    scale = min(_REFERENCE / gray.shape[0], _LONGEST / gray.shape[1])
    return _scaled(gray, scale), _scaled(mask, scale)


def _scaled(image: Gray, scale: float) -> Gray:
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _features(gray: Gray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    points, features = _detector().detectAndCompute(gray, None)
    if features is None:
        return np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8)
    return np.array([point.pt for point in points], np.float32), np.asarray(features, np.uint8)


def likenesses(gray: Gray, known: Sequence[LogoReference]) -> list[Likeness]:
    """Return how much a crop, (H, W) uint8, is like each brand's most similar logo, where enough features agree."""
    crop = _scaled(gray, _HEIGHT / gray.shape[0])
    points, features = _features(crop)
    best: dict[str, Likeness] = {}
    if len(points) < _LEAST:
        return []
    for reference in known:
        like = _likeness(crop, points, features, reference)
        if like and (reference.brand not in best or _weight(like) > _weight(best[reference.brand])):
            best[reference.brand] = like
    return [best[name] for name in sorted(best)]


def _weight(like: Likeness) -> float:
    return like.correlation * min(like.points, 10)


def _likeness(
    crop: Gray, points: npt.NDArray[np.float32], features: npt.NDArray[np.uint8], reference: LogoReference
) -> Likeness | None:
    pairs = [
        pair[0]
        for pair in _MATCHER.knnMatch(features, reference.features, k=2)
        if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance
    ]
    if len(pairs) < _LEAST:
        return None
    source = reference.points[[pair.trainIdx for pair in pairs]]
    target = points[[pair.queryIdx for pair in pairs]]
    # The same crop has the same answer, whichever was compared before.
    cv2.setRNGSeed(0)
    found, agreeing = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_NEAR * crop.shape[0], maxIters=1000
    )
    if found is None or not _is_plausible(np.asarray(found)):
        return None
    matrix = np.asarray(found, np.float64)
    # Features of several scales in one place say the same thing.
    places = np.unique(np.round(source[np.asarray(agreeing).ravel() > 0] / 3), axis=0)
    if len(places) < _LEAST:
        return None
    height, width = crop.shape
    flags = cv2.INTER_AREA if abs(np.linalg.det(matrix[:, :2])) < 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(reference.gray, matrix, (width, height), flags=flags)
    there = cv2.warpAffine(reference.mask, matrix, (width, height), flags=cv2.INTER_NEAREST) > 127
    whole = float((reference.mask > 127).sum()) * abs(float(np.linalg.det(matrix[:, :2])))
    ys, xs = np.nonzero(there)
    if len(ys) < 64:
        return None
    return Likeness(
        reference.brand,
        reference.name,
        len(places),
        _correlation(crop[there], np.asarray(warped, np.uint8)[there]),
        float(min(1.0, len(ys) / max(1.0, whole))),
        float(xs.min() / width),
        float((xs.max() + 1) / width),
        float((ys.max() + 1 - ys.min()) / height),
    )


def _is_plausible(matrix: npt.NDArray[np.float64]) -> bool:
    """Return whether a map neither mirrors nor turns a logo upside down, nor distorts it beyond what a sign would."""
    linear = matrix[:, :2]
    if np.linalg.det(linear) <= 0 or linear[0, 0] <= 0 or linear[1, 1] <= 0:
        return False
    largest, least = np.linalg.svd(linear)[1]
    return bool(least >= _SCALES[0] and largest <= _SCALES[1] and largest <= _STRETCH * least)


def _correlation(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / length, -1, 1)) if length > 0 else 0.0


def compute_logos(given: TableInput) -> TableOutput:
    """Return rows of `likenesses`."""
    known = references(given.listed("brands", ("brand", "logos")).to_pylist())
    tables = [schemas.LIKENESSES.file_schema.empty_table()]
    n_frames = 0
    for stream, input_id in given.scopes.items():
        n_frames += given.above["rectify"].read(("frame_idx",), [stream]).num_rows
        if not known:
            continue
        keys = {"input_id": input_id, "stream_id": stream}
        for streams, span in given.above["rectify"].portions([stream]):
            columns = ("region_id", "frame_idx", "wide", "tall", "image")
            crops = given.above["rectify"].read(columns, streams, span, table="crops")
            rows = []
            for crop in crops.to_pylist():
                given.check()
                gray = cv2.imdecode(np.frombuffer(crop["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
                place = {"region_id": crop["region_id"], "frame_idx": crop["frame_idx"]}
                for like in likenesses(np.asarray(gray, np.uint8), known):
                    tall = like.height_share * crop["tall"]
                    size = {"tall": tall, "part": (like.ends - like.begins) * crop["wide"] * tall}
                    rows.append({**keys, **place, **like._asdict(), **size})
            tables.append(pa.Table.from_pylist(rows, schemas.LIKENESSES.file_schema))
    return TableOutput(pa.concat_tables(tables), n_frames)
