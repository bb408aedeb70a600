"""From the bytes of a picture to the 28 x 28 pixels that the network knows from MNIST."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classify.refusal import Code, Refusal

SIDE = 28
"""Height and width of MNIST's images [pixels]."""
BOX = 20
"""MNIST's digits were fitted into a box of this size [pixels] (yann.lecun.com/exdb/mnist)."""
MAX_PIXELS = 9_000_000
"""A page of A4 at 300 dpi: decoders need up to 15 bytes a pixel, and the action has 256 MB."""
MAX_JPEG_PIXELS = 16_000_000
"""A phone's photograph: JPEG is decoded at an eighth of its size."""
WORK_SIDE = 280
"""Larger pictures are reduced to about this before anything is looked for in them [pixels]."""
INK = 0.25
"""What is darker than this share of the darkest is ink, the rest is paper and its noise."""
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"RIFF", "WEBP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"P4", "PPM"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
)
"""First bytes and Pillow's name of the formats read; none of them starts another program."""
NAMES = "PNG, JPEG, GIF, BMP, WebP, TIFF or PPM"

# Pillow warns from this size on and refuses from twice it; here both are the end.
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


def pixels(content: bytes) -> NDArray[np.uint8]:
    """Decode a picture: uint8, (28, 28), ink is bright on black.

    A picture of exactly 28 x 28 keeps its pixels; any other has its digit fitted into MNIST's box
    and centred by mass. Dark on white is inverted.

    Raises:
        Refusal: 413 for one with too many pixels, 415 for what is no picture.
    """
    image = _open(content)
    try:
        exact = image.size == (SIDE, SIDE)
        grey = _grey(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise _too_many_pixels(image) from None
    except Exception as error:
        # Decoders raise whatever damaged data makes them stumble over.
        raise Refusal(Code.NOT_AN_IMAGE, f"the picture is damaged: {error}") from error
    inked = _ink_bright(grey)
    return inked if exact else fit(inked)


def _open(content: bytes) -> Image.Image:
    name = next((name for start, name in SIGNATURES if content.startswith(start)), None)
    if name is None:
        raise Refusal(Code.NOT_AN_IMAGE, f"not a picture: {NAMES} is needed")
    try:
        image = Image.open(io.BytesIO(content), formats=[name])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        text = f"the picture has more than {MAX_JPEG_PIXELS} pixels"
        raise Refusal(Code.TOO_LARGE, text) from None
    except Exception as error:
        raise Refusal(Code.NOT_AN_IMAGE, f"the {name} picture cannot be read") from error
    # Nothing is decoded yet: width and height come from the header.
    if image.width * image.height > _allowed_pixels(image):
        raise _too_many_pixels(image)
    return image


def _allowed_pixels(image: Image.Image) -> int:
    return MAX_JPEG_PIXELS if image.format == "JPEG" else MAX_PIXELS


def _too_many_pixels(image: Image.Image) -> Refusal:
    found = f"{image.width} x {image.height}"
    text = f"the picture has {found} pixels, {_allowed_pixels(image)} are allowed in all"
    return Refusal(Code.TOO_LARGE, text)


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """One channel of 8 bits, reduced to about `WORK_SIDE` where it is much larger."""
    if image.format == "JPEG":
        image.draft("L", (WORK_SIDE, WORK_SIDE))
    if image.mode.startswith(("I", "F")):
        return _stretched(np.asarray(_reduced(image.convert("F")), np.float32))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        # Reduced first: at full size every conversion is a copy of 4 bytes a pixel.
        return _flattened(_reduced(image).convert("RGBA").convert("LA"))
    if image.mode != "L":
        image = image.convert("L")
    grey = _reduced(image)
    if image.format == "JPEG" or image.getexif():
        # A telephone held upright stores a picture that lies on its side.
        from PIL import ImageOps

        grey = ImageOps.exif_transpose(grey)
    return np.asarray(grey, np.uint8)


def _reduced(image: Image.Image) -> Image.Image:
    factor = max(image.size) // WORK_SIDE
    # A long thin picture keeps at least one pixel of its short side.
    factor = min(factor, min(image.size))
    return image.reduce(factor) if factor > 1 else image


def _stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Numbers of any range, spread over 0 to 255."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    spread: NDArray[np.float32] = (values - low) * (255.0 / (high - low))
    return spread.round().astype(np.uint8)


def _flattened(image: Image.Image) -> NDArray[np.uint8]:
    """Put a partly transparent picture on the paper that its digit can be seen on."""
    both = np.asarray(image, np.float32)
    light, alpha = both[..., 0], both[..., 1] / 255.0
    weight = float(alpha.sum())
    paper = 255.0 if weight and float((light * alpha).sum()) / weight < 127.5 else 0.0
    flat: NDArray[np.float32] = light * alpha + paper * (1.0 - alpha)
    return flat.round().astype(np.uint8)


def _ink_bright(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Invert dark on white: the edge of a picture is paper."""
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 255 - grey if float(edge.mean()) > 127.5 else grey


def fit(inked: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Do what MNIST's makers did: the digit into a box of 20 x 20, its mass into the centre.

    Args:
        inked: Bright on dark, any size.

    Returns:
        uint8, (28, 28); all 0 where there is no ink.
    """
    edge = np.concatenate([inked[0], inked[-1], inked[:, 0], inked[:, -1]])
    clean = inked.astype(np.float32) - float(np.median(edge))
    peak = float(clean.max())
    if peak <= 0:
        return np.zeros((SIDE, SIDE), np.uint8)
    clean = np.clip(clean * (255.0 / peak), 0, 255)
    rows, columns = np.nonzero(clean > INK * 255)
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    height, width = bottom - top, right - left
    share = BOX / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    digit = Image.fromarray(clean.astype(np.uint8)).resize(
        size, Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return _centred(np.asarray(digit, np.uint8))


def _centred(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place a digit of at most 20 x 20 so that its mass is in the middle of 28 x 28."""
    height, width = digit.shape
    mass = max(1.0, float(digit.sum()))
    row = float((digit.sum(axis=1) * np.arange(height)).sum()) / mass
    column = float((digit.sum(axis=0) * np.arange(width)).sum()) / mass
    top = min(max(0, round((SIDE - 1) / 2 - row)), SIDE - height)
    left = min(max(0, round((SIDE - 1) / 2 - column)), SIDE - width)
    placed = np.zeros((SIDE, SIDE), np.uint8)
    placed[top : top + height, left : left + width] = digit
    return placed
