"""Writing a part of a clip as a file of its own: packets as they are where that gives the same frames, else encoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from transforms.frames.chunking import end_pts
from transforms.frames.clip_index import ClipIndex
from transforms.frames.container import clip_source, open_clip, packets_of, video_of

Written = Literal["copied", "encoded"]
_CRF = "16"
# Frames have times of their own; this is where the container asks for a rate.
_RATE = 25


def write_clip_part(clip: str, index: ClipIndex, begin: int, end: int, target: Path) -> Written:
    """Write the frames of a half-open interval of numbers to an MP4 file, with their times from 0 on; no sound.

    Packets are copied where the first frame is a keyframe and no frame of the part needs a packet of another one. Else
    frames are decoded and encoded as H.264 (CRF 16). Raises `OSError` for what cannot be read.
    """
    start, stop = int(index.pts[begin]), end_pts(index, end)
    if index.packet is None and index.is_key[begin] and _stands_alone(clip, start, stop):
        _copy(clip, start, stop, target)
        return "copied"
    _encode(clip, index, begin, end, target)
    return "encoded"


def _stands_alone(clip: str, start: int, stop: int) -> bool:
    """Return whether the packets of an interval follow on each other in the order of decoding, from a keyframe on."""
    with open_clip(clip_source(clip)) as container:
        stream = video_of(container)
        inside = np.array(
            [
                packet.pts is not None and start <= packet.pts < stop
                for packet in packets_of(container, stream)
                if not packet.is_discard
            ]
        )
    at = np.flatnonzero(inside)
    return bool(len(at)) and bool(inside[at[0] : at[-1] + 1].all())


def _copy(clip: str, start: int, stop: int, target: Path) -> None:
    import av

    with open_clip(clip_source(clip)) as source, av.open(str(target), "w", format="mp4") as made:
        stream = video_of(source)
        out = made.add_stream_from_template(stream)
        for packet in packets_of(source, stream):
            if packet.pts is None or packet.is_discard or not start <= packet.pts < stop:
                continue
            dts = packet.pts if packet.dts is None else packet.dts
            packet.pts -= start
            packet.dts = dts - start
            packet.stream = out
            made.mux(packet)


def _encode(clip: str, index: ClipIndex, begin: int, end: int, target: Path) -> None:
    import av

    from transforms.frames.clip import Clip, FrameName

    names = index.fragments(np.arange(begin, end))
    since = index.since_first_ns(np.arange(begin, end))
    unit = Fraction(1, 1_000_000)
    with Clip(clip) as source, av.open(str(target), "w", format="mp4") as made:
        out: Any = None
        for fragment, ns in zip(names, (since - since[0]).tolist(), strict=True):
            name = FrameName.parse(f"{clip}{fragment}")
            found = source.find(name) if name is not None else None
            if found is None or found.frame is None:
                # A frame that does not decode is missing in the part, too.
                continue
            image = found.frame.color()
            height, width = image.shape[:2]
            if out is None:
                out = made.add_stream("libx264", rate=_RATE, options={"crf": _CRF})
                # Half as many colours need even sizes, and no pixel is left out.
                is_even = height % 2 == 0 and width % 2 == 0
                out.width, out.height, out.pix_fmt = width, height, "yuv420p" if is_even else "yuv444p"
                out.codec_context.time_base = unit
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = ns // 1000, unit
            made.mux(out.encode(frame))
        if out is not None:
            made.mux(out.encode(None))
