"""A generated broadcast of a match with advertising, and what is visible on each of its frames.

All is drawn from a seed: boards behind the pitch and along its side in four fonts, LED boards whose text slides or
changes, a board with a name one letter away from a brand, a logo without words, players in front, one with a sponsor on
the shirt, a score bug, a corner bug, pans, zooms, cuts, a fade, a replay wipe, motion blur, and compression at a bit
rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from tests.sign_faces import Image, Points, lettered, logo_image, paste

Draws = Callable[[float], tuple[Image, str, Points]]
"""Returns the face of a sign at a time in seconds, the brand on it, and the corners of its name, (4, 2)."""

BRANDS = ("NORDVIG", "KESTREL BANK", "Ferrano", "OLYMPAX", "Quillon", "SUNVALE", "TRIVANTO")
HOMONYM = "NORDVIK"
LOGO = "Halvmaane"
"""The brand whose logo has no words."""

_PER_METRE = 96
_WIPE_S = 0.8
_FADE_S = 1.0


class Shot(NamedTuple):
    """A shot: seconds, yaw in degrees and focal length in image widths at its beginning and end, and what it shows."""

    seconds: float
    yaw: tuple[float, float]
    focal: tuple[float, float]
    begins: str = "cut"
    signs: bool = True
    blur: bool = False


class Seen(NamedTuple):
    """A brand on a frame: height of its letters or logo in pixels, the share that is visible, corners, (4, 2)."""

    brand: str
    kind: str
    height: float
    share: float
    quad: Points


@dataclass
class Truth:
    """What is visible: for each frame its time in seconds and the brands on it; times at which shots begin."""

    times: list[float] = field(default_factory=list)
    seen: list[list[Seen]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)

    def seconds(self, brand: str, height: float = 20, share: float = 0.6) -> npt.NDArray[np.bool_]:
        """Return for each frame whether a brand is at least so high and so much of it visible, shape (N,)."""
        return np.array(
            [any(s.brand == brand and s.height >= height and s.share >= share for s in each) for each in self.seen],
            np.bool_,
        )


@dataclass(frozen=True)
class Sign:
    """A sign in the world: corners in metres, (4, 3), from the upper left one clockwise, and what it shows."""

    corners: Points
    draw: Draws
    kind: str = "board"


class Broadcast:
    """A generated broadcast of one seed; `frames` yields its images with what is visible on them."""

    def __init__(self, seed: int, width: int = 1280, height: int = 720, fps: int = 25, seconds: float = 30.0) -> None:
        self.size = (width, height)
        self.fps = fps
        self._random = np.random.default_rng(seed)
        self._shots = self._plan(seconds)
        self._signs = self._boards()
        self._crowd = self._texture((260, 1800, 3), 60, 115)
        self._grass = self._texture((256, 256, 3), 0, 26)
        self._scale = width / 1280
        names = [str(name) for name in self._random.permutation(BRANDS)]
        self._score, self._corner, self._shirt = names[:3]
        self.truth = Truth()

    def frames(self) -> Iterator[Image]:
        """Yield the frames, (H, W, 3) uint8 BGR; `truth` then has what was visible on them."""
        at, before = 0.0, None
        for shot in self._shots:
            self.truth.cuts.append(at)
            shown = self._shot(shot, at)
            for number, (plain, visible) in enumerate(shown):
                image, seen = plain, visible
                since = number / self.fps
                if shot.begins == "fade" and since < _FADE_S:
                    # Through black: what is on the frame is visible where it is bright enough.
                    image = (image * (since / _FADE_S)).astype(np.uint8)
                    seen = [s._replace(share=s.share * (since > _FADE_S / 2)) for s in seen]
                if shot.begins == "wipe" and since < _WIPE_S and before is not None:
                    image, seen = self._wiped(image, seen, before, since / _WIPE_S)
                self.truth.times.append(at + since)
                self.truth.seen.append(seen)
                yield image
            before = image, seen
            at += round(shot.seconds * self.fps) / self.fps

    def write(self, path: Path, crf: int = 23) -> Truth:
        """Write the broadcast as H.264 with this quality (higher is worse), and return what is visible on it."""
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=self.fps)
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, self.fps)
            stream.options = {"crf": str(crf), "preset": "veryfast", "g": "50", "threads": "1"}
            for image in self.frames():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())
        return self.truth

    def _plan(self, seconds: float) -> list[Shot]:
        """Return the shots: of every kind at least one, in an order of their own for each seed."""
        random = self._random
        unit = seconds / 8
        wide = (float(random.uniform(-16, -6)), float(random.uniform(6, 16)))
        near = float(random.uniform(-14, 14))
        shots = [
            Shot(2 * unit, wide, (1.5, 1.5)),
            Shot(unit, (near, near + 2), (1.4, 2.3)),
            Shot(unit, (0.0, 0.0), (1.5, 1.5), signs=False),
            Shot(2 * unit, wide[::-1], (1.7, 1.5), blur=True),
            Shot(unit, (38.0, 46.0), (1.3, 1.3), begins="fade"),
            Shot(unit, (near - 3, near), (1.8, 1.8), begins="wipe"),
        ]
        first, rest = shots[0], [shots[at] for at in random.permutation(np.arange(1, len(shots)))]
        return [first, *rest]

    def _texture(self, shape: tuple[int, ...], low: int, high: int) -> Image:
        small = self._random.integers(low, high, (shape[0] // 6 + 1, shape[1] // 6 + 1, shape[2]), dtype=np.uint8)
        return np.asarray(cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)

    def _boards(self) -> list[Sign]:
        random = self._random
        names = [str(name) for name in random.permutation(BRANDS)]
        draws: list[Draws] = [
            self._printed(names[0], 0),
            self._printed(HOMONYM, 1),
            self._sliding(names[1], 2),
            self._printed("NORDVIG", 1),
            self._logo(),
            self._changing((names[2], names[3]), 3),
            self._printed("WELCOME", 2),
            self._printed(names[4], 3),
            self._printed(names[5], 0),
        ]
        order = random.permutation(len(draws))
        signs = []
        for place, which in enumerate(order.tolist()):
            left, length = -27 + 6.0 * place, 5.8
            edge = ((left, -1.2), (left + length, -1.2), (left + length, 0.0), (left, 0.0))
            signs.append(Sign(np.array([(x, y, 36.0) for x, y in edge]), draws[which]))
        for place, name in enumerate((names[6], names[0], HOMONYM)):
            far, length = 34 - 5.5 * place, 5.2
            edge = ((far, -1.2), (far - length, -1.2), (far - length, 0.0), (far, 0.0))
            signs.append(Sign(np.array([(27.5, y, z) for z, y in edge]), self._printed(name, place)))
        return signs

    def _printed(self, name: str, font: int) -> Draws:
        face, quad = lettered(name, font, (int(5.8 * _PER_METRE), int(1.2 * _PER_METRE)), *self._colours())
        return lambda _: (face, name, quad)

    def _sliding(self, name: str, font: int) -> Draws:
        size = (int(5.8 * _PER_METRE), int(1.2 * _PER_METRE))
        face, quad = lettered(name, font, size, *self._colours())

        def draw(at: float) -> tuple[Image, str, Points]:
            shift = int(at * 0.5 * _PER_METRE) % size[0]
            moved = quad - (shift, 0)
            # The text that leaves on the left comes back on the right: what is visible is the larger part.
            if moved[:, 0].mean() < 0:
                moved += np.array((size[0], 0))
            return np.roll(face, -shift, axis=1), name, moved

        return draw

    def _changing(self, names: Sequence[str], font: int) -> Draws:
        size = (int(5.8 * _PER_METRE), int(1.2 * _PER_METRE))
        faces = [(lettered(name, font, size, *self._colours()), name) for name in names]

        def draw(at: float) -> tuple[Image, str, Points]:
            (face, quad), name = faces[int(at // 3) % len(faces)]
            return face, name, quad

        return draw

    def _logo(self) -> Draws:
        face = np.full((int(1.2 * _PER_METRE), int(5.8 * _PER_METRE), 3), (60, 30, 90), np.uint8)
        emblem = logo_image(int(1.0 * _PER_METRE))
        top, left = (face.shape[0] - emblem.shape[0]) // 2, (face.shape[1] - emblem.shape[1]) // 2
        face[top : top + emblem.shape[0], left : left + emblem.shape[1]] = emblem
        bottom, right = top + emblem.shape[0], left + emblem.shape[1]
        quad = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
        return lambda _: (face, LOGO, quad)

    def _colours(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        dark = tuple(int(v) for v in self._random.integers(10, 80, 3))
        light = tuple(int(v) for v in self._random.integers(190, 250, 3))
        return (dark, light) if self._random.random() < 0.6 else (light, dark)

    def _shot(self, shot: Shot, at: float) -> Iterator[tuple[Image, list[Seen]]]:
        n = round(shot.seconds * self.fps)
        players = self._players()
        for number in range(n):
            part = number / max(1, n - 1)
            yaw = np.interp(part, (0, 1), shot.yaw)
            focal = np.interp(part, (0, 1), shot.focal) * self.size[0]
            image, seen, share = self._view(float(yaw), float(focal), at + number / self.fps, shot, players)
            yield image, [s._replace(share=share(i)) for i, s in enumerate(seen)]

    def _players(self) -> list[dict[str, Any]]:
        random = self._random
        return [
            {
                "x": random.uniform(-14, 14),
                "z": random.uniform(20, 30),
                "v": random.uniform(-2.5, 2.5),
                "sponsor": i == 0,
            }
            for i in range(6)
        ]

    def _view(
        self, yaw: float, focal: float, at: float, shot: Shot, players: list[dict[str, Any]]
    ) -> tuple[Image, list[Seen], Callable[[int], float]]:
        width, height = self.size
        image = self._ground(yaw, focal)
        owner = np.zeros((height, width), np.int16)
        seen: list[Seen] = []
        whole: list[float] = []

        def show(face: Image, corners: Points, name: str, inside: Points, kind: str) -> None:
            """Draw a face with its corners in the image, and note the name on it."""
            size = (face.shape[1], face.shape[0])
            source = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
            matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
            paste(image, owner, face, matrix, corners)
            quad = cv2.perspectiveTransform(inside[None].astype(np.float64), matrix)[0]
            seen.append(Seen(name, kind, float(np.linalg.norm(quad[[3, 2]] - quad[[0, 1]], axis=1).mean()), 0.0, quad))
            # What slides out of its sign is not visible there.
            _, inside_sign = cv2.intersectConvexConvex(quad.astype(np.float32), corners.astype(np.float32))
            if inside_sign is not None and len(inside_sign):
                cv2.fillConvexPoly(owner, np.round(inside_sign).astype(np.int32), len(seen))
            whole.append(abs(cv2.contourArea(quad.astype(np.float32))))

        if shot.signs:
            for sign in self._signs:
                corners = self._projected(sign.corners, yaw, focal)
                if corners is not None and corners[:, 0].max() > 0 and corners[:, 0].min() < width:
                    show(*_with_corners(sign.draw(at), corners), sign.kind)
        for player in sorted(players, key=lambda p: -p["z"]):
            self._player(image, owner, player, yaw, focal, at, show)
        if shot.blur:
            kernel = np.full((1, 5), 1 / 5, np.float32)
            image[:] = cv2.filter2D(image, -1, kernel)
        self._graphics(show)
        counts = np.bincount(owner.ravel(), minlength=len(seen) + 1)
        return image, seen, lambda i: float(min(1.0, counts[i + 1] / max(1.0, whole[i])))

    def _projected(self, points: Points, yaw: float, focal: float) -> Points | None:
        """Return points of the world in the image, (N, 2); None where one is behind the camera."""
        turn = np.deg2rad(yaw)
        x = points[:, 0] * np.cos(turn) - points[:, 2] * np.sin(turn)
        z = points[:, 0] * np.sin(turn) + points[:, 2] * np.cos(turn)
        if z.min() < 1:
            return None
        width, height = self.size
        # The camera is 7 m above the ground, and looks down a little.
        y = points[:, 1] + 7.0 - 0.16 * z
        return np.stack([width / 2 + focal * x / z, height / 2 + focal * y / z], axis=1)

    def _ground(self, yaw: float, focal: float) -> Image:
        width, height = self.size
        shift = int(yaw * focal / 57)
        base = self._projected(np.array([(0.0, 0.0, 36.0), (0.0, -1.3, 36.0)]), 0.0, focal)
        assert base is not None
        line = int(np.clip(base[0, 1], 0, height))
        image = np.empty((height, width, 3), np.uint8)
        crowd = np.roll(self._crowd, -shift, axis=1)
        image[:] = np.resize(crowd[:, :width], (height, width, 3))
        rows = np.arange(line, height)
        stripes = ((np.arange(width)[None] + shift + (rows[:, None] - line)) // int(110 * self._scale)) % 2
        green = np.where(stripes[..., None] == 0, (52, 128, 40), (44, 112, 34)).astype(np.int16)
        grass = np.roll(self._grass, -shift, axis=1)
        noise = np.tile(grass, (height // 256 + 1, width // 256 + 1, 1))[: height - line, :width].astype(np.int16) - 13
        image[line:] = np.clip(green + noise, 0, 255)
        return image

    def _player(
        self,
        image: Image,
        owner: npt.NDArray[np.int16],
        player: dict[str, Any],
        yaw: float,
        focal: float,
        at: float,
        show: Callable[..., None],
    ) -> None:
        x, z = player["x"] + player["v"] * (at % 8), player["z"]
        if player["sponsor"]:
            z = 12.0
        ends = self._projected(np.array([(x - 0.45, -1.8, z), (x + 0.45, 0.0, z)]), yaw, focal)
        if ends is None:
            return
        (left, top), (right, bottom) = np.round(ends).astype(int)
        shirt = (40, 40, 200) if player["sponsor"] else (200, 200, 210)
        middle = top + (bottom - top) // 2
        for area, colour in (((left, top, right, middle), shirt), ((left, middle, right, bottom), (60, 60, 60))):
            cv2.rectangle(image, area[:2], area[2:], colour, -1)
            cv2.rectangle(owner, area[:2], area[2:], 0, -1)
        head = ((left + right) // 2, top - (right - left) // 4)
        cv2.circle(image, head, max(1, (right - left) // 4), (120, 160, 210), -1)
        cv2.circle(owner, head, max(1, (right - left) // 4), 0, -1)
        if player["sponsor"]:
            face, quad = lettered(self._shirt, 1, (320, 110), shirt, (250, 250, 250))
            low, high = top + (middle - top) // 4, top + 3 * (middle - top) // 4
            corners = np.array([(left, low), (right, low), (right, high), (left, high)], np.float64)
            show(face, corners, self._shirt, quad, "kit")

    def _graphics(self, show: Callable[..., None]) -> None:
        width, height = self.size
        s = self._scale
        score = [(self._score, (30, 24, 190 * s, 40 * s), 3)]
        corner = [(self._corner, (width - 30 - 190 * s, height - 24 - 44 * s, 190 * s, 44 * s), 0)]
        for (name, (left, top, w, h), font), colours in zip(
            score + corner, (((90, 30, 20), (250, 250, 250)), ((240, 240, 240), (20, 20, 120))), strict=True
        ):
            face, quad = lettered(name, font, (int(2 * w), int(2 * h)), *colours)
            corners = np.array([(left, top), (left + w, top), (left + w, top + h), (left, top + h)], np.float64)
            show(face, corners, name, quad, "graphic")

    def _wiped(
        self, image: Image, seen: list[Seen], before: tuple[Image, list[Seen]], part: float
    ) -> tuple[Image, list[Seen]]:
        """Return a frame of the wipe: a bar that moves from left to right, the new shot on its left."""
        width, height = self.size
        at = int(part * width * 1.2)
        mixed = before[0].copy()
        mixed[:, :at] = image[:, :at]
        cv2.rectangle(mixed, (max(0, at - width // 8), 0), (at, height), (30, 180, 220), -1)

        def part_of(each: Seen, low: float, high: float) -> Seen:
            left, right = each.quad[:, 0].min(), each.quad[:, 0].max()
            inside = max(0.0, min(right, high) - max(left, low)) / max(1.0, right - left)
            return each._replace(share=each.share * inside)

        left = [part_of(each, 0, at - width / 8) for each in seen]
        return mixed, [*left, *(part_of(each, at, width) for each in before[1])]


def _with_corners(drawn: tuple[Image, str, Points], corners: Points) -> tuple[Image, Points, str, Points]:
    face, name, quad = drawn
    return face, corners, name, quad
