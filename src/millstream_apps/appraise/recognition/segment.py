"""Which pixels are the pin: masks from the difference to what lies along the photo's border.

A help, never a need: where the border is too various, or nothing stands out, there is none.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.photo import Grey, Rgb

SIDE = 240  # pixels of the longer side at which is looked
SURFACES = 5  # colours that a background may have
LEAST, MOST = 0.015, 0.92  # share of the photo that a pin may take
ALONE = 0.93  # in common with its compact part: nothing else lies around it
CORES = (0.45, 0.3, 0.2)  # of the breadth, how thick a core is at least
PART = 0.06  # of the largest part: what else belongs to the pin


def segment(rgb: Rgb) -> tuple[Grey, ...]:
    """Masks (0 or 255) as large as the picture, the likeliest first; none where nothing stands out.

    There are two where other things lie around: all parts, and what a compact core in the foremost
    part belongs to.
    """
    height, width = rgb.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2LAB)
    distance = _strangeness(lab.astype(np.float32))
    rough = _large_parts(_threshold(distance))
    if rough is None:
        return ()
    refined = _large_parts(_along_edges(small, rough))
    if refined is None:
        return ()
    found = [refined]
    foremost = _foremost(refined)
    if _in_common(_opened(foremost, 0.12), refined) < ALONE:
        alone = _about_core(small, foremost)
        found += [each for each in (alone,) if _in_common(each, refined) < ALONE]
    return tuple(
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) // 128 * 255
        for mask in found
    )


def filled(mask: Grey) -> Grey:
    """The mask without holes: what shows through a pin belongs to its form."""
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    whole = np.zeros_like(mask)
    cv2.drawContours(whole, contours, -1, 255, cv2.FILLED)
    return whole


def _foremost(mask: Grey) -> Grey:
    """The one part that is largest and nearest to the middle."""
    count, labels, stats, middles = cv2.connectedComponentsWithStats(mask)
    height, width = mask.shape
    away = np.linalg.norm(middles / (width, height) - 0.5, axis=1)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    worth = np.sqrt(areas) * (1.2 - away)
    best = 1 + int(worth[1:].argmax()) if count > 1 else 0
    return np.where(labels == best, 255, 0).astype(np.uint8)


def _disc(width: float) -> Grey:
    odd = int(width) | 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd, odd))


def _breadth(mask: Grey) -> float:
    return float(np.sqrt(max(int((mask > 0).sum()), 1)))


def _opened(mask: Grey, share: float) -> Grey:
    """The part without what is thinner than a share of its breadth."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(share * _breadth(mask)))
    return _foremost(opened) if opened.any() else mask


def _about_core(small: Rgb, foremost: Grey) -> Grey:
    """What goes with the part's compact core by its colours, not far around it: things that lie at
    a pin's rim, and lines that run into it, seldom have a core of their own.
    """
    for share in CORES:
        core = _opened(foremost, share)
        if core is not foremost:
            break
    else:
        return foremost
    near = cv2.dilate(core, _disc(0.55 * _breadth(core)))
    sure = cv2.erode(core, _disc(0.25 * _breadth(core)))
    found = _large_parts(_cut(small, core, near, sure, rounds=3))
    return foremost if found is None else _foremost(found)


def _in_common(one: Grey, other: Grey) -> float:
    return float(((one & other) > 0).sum() / max(int(((one | other) > 0).sum()), 1))


def flat_border(rgb: Rgb, tolerance: float = 10.0) -> Grey | None:
    """The mask of what stands on a background of one even colour, exactly; None without one.

    Catalogue pictures mostly have one. `tolerance` in units of CIE Lab.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    border = _border(lab, 1)
    middle = np.median(border, axis=0)
    if np.mean(np.linalg.norm(border - middle, axis=1) < tolerance) < 0.97:
        return None
    alike = (np.linalg.norm(lab - middle, axis=2) < tolerance).astype(np.uint8)
    outside = _reached_from_border(alike)
    mask = np.where(outside, 0, 255).astype(np.uint8)
    share = mask.mean() / 255
    return mask if 0.01 < share < 0.995 else None


def _reached_from_border(alike: Grey) -> NDArray[np.bool_]:
    """Where ones are connected with the border through ones."""
    framed = cv2.copyMakeBorder(alike, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    labels = cv2.connectedComponents(framed, connectivity=4)[1]
    return (labels == labels[0, 0])[1:-1, 1:-1]


def _border(lab: NDArray[Any], depth: int) -> NDArray[Any]:
    """The pixels along the border, (count, 3)."""
    sides = (lab[:depth], lab[-depth:], lab[:, :depth], lab[:, -depth:])
    return np.concatenate([side.reshape(-1, lab.shape[2]) for side in sides])


def _strangeness(lab: NDArray[Any]) -> NDArray[Any]:
    """How far each pixel is from every colour of the border, in those colours' own spreads."""
    border = _border(lab, 4)
    stop = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 12, 0.5)
    cv2.setRNGSeed(1)
    found = cv2.kmeans(border, SURFACES, np.empty(0, np.int32), stop, 1, cv2.KMEANS_PP_CENTERS)
    labels, centres = found[1].ravel(), found[2]
    nearest = np.full(lab.shape[:2], np.inf, np.float32)
    for at, centre in enumerate(centres):
        own = border[labels == at]
        if len(own) < 0.03 * len(border):
            continue  # a corner of the pin itself, or dirt
        spread = np.maximum(own.std(axis=0), (6.0, 3.0, 3.0))
        apart = np.sqrt((((lab - centre) / spread) ** 2).sum(axis=2))
        nearest = np.minimum(nearest, apart)
    return np.minimum(nearest, 12.0)


def _threshold(distance: NDArray[Any]) -> Grey:
    eight = (distance * (255 / 12)).astype(np.uint8)
    level, _ = cv2.threshold(eight, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.where(eight > max(level, 3.0 * 255 / 12), 255, 0).astype(np.uint8)


def _large_parts(mask: Grey) -> Grey | None:
    """The large connected parts, their holes filled; None where the largest is unfit."""
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not contours:
        return None
    areas = [cv2.contourArea(contour) for contour in contours]
    greatest = max(areas)
    if not LEAST < greatest / mask.size < MOST:
        return None
    # A pin's loose parts are as large as this; what is smaller is dirt.
    parts = [each for each, area in zip(contours, areas, strict=True) if area > PART * greatest]
    found = np.zeros_like(mask)
    cv2.drawContours(found, parts, -1, 255, cv2.FILLED)
    return found


def _along_edges(small: Rgb, rough: Grey) -> Grey:
    """The mask drawn along the edges of the picture."""
    near = cv2.dilate(rough, np.ones((9, 9), np.uint8))
    sure = cv2.erode(rough, np.ones((9, 9), np.uint8))
    return _cut(small, rough, near, sure, rounds=2)


def _cut(small: Rgb, rough: Grey, near: Grey, sure: Grey, rounds: int) -> Grey:
    """GrabCut (Rother et al., SIGGRAPH 2004), from what is `sure` the pin to what is `near` it."""
    state = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    state[near > 0] = cv2.GC_PR_BGD
    state[rough > 0] = cv2.GC_PR_FGD
    state[sure > 0] = cv2.GC_FGD
    if not (state == cv2.GC_FGD).any() or not (state == cv2.GC_BGD).any():
        return rough
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(small, state, (0, 0, 1, 1), *models, rounds, cv2.GC_INIT_WITH_MASK)
    return np.where((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
