"""References' photos: drawn pins, as the demo catalogue has them."""

from io import BytesIO

from examples.pins.drawing import draw
from PIL import Image


def drawn_pin(number: int) -> bytes:
    """A drawn pin on white, as a PNG."""
    pin = Image.fromarray(draw(number))
    flat = Image.alpha_composite(Image.new("RGBA", pin.size, (255, 255, 255, 255)), pin)
    out = BytesIO()
    flat.convert("RGB").save(out, "PNG")
    return out.getvalue()
