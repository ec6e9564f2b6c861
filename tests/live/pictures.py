"""Pictures to upload, drawn here: calm scenes, each another by its number."""

import colorsys
import io
import math
import random

from PIL import Image, ImageDraw, ImageFilter

SCALE = 2  # drawn larger, for smooth edges


def picture(number: int, size: tuple[int, int] = (960, 720), kind: str = "JPEG") -> bytes:
    """One scene as a file of `kind`."""
    dice = random.Random(number)
    wide, high = size[0] * SCALE // 2, size[1] * SCALE // 2
    image = (_hills, _cup, _sea, _window)[number % 4](dice, wide, high)
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(out, kind, quality=82)
    return out.getvalue()


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(dice: random.Random, wide: int, high: int, hue: float) -> Image.Image:
    low, top = _colour(hue + 0.04, 0.35, 0.98), _colour(hue, 0.55, dice.uniform(0.55, 0.9))
    strip = Image.new("RGB", (1, 64))
    for row in range(64):
        share = row / 63
        mixed = [round(a + (b - a) * share) for a, b in zip(top, low, strict=True)]
        strip.putpixel((0, row), (mixed[0], mixed[1], mixed[2]))
    return strip.resize((wide, high), Image.Resampling.BICUBIC)


def _sun(image: Image.Image, dice: random.Random, hue: float) -> None:
    wide, high = image.size
    x, y, r = dice.uniform(0.2, 0.8) * wide, dice.uniform(0.25, 0.45) * high, wide * 0.08
    glow = Image.new("L", image.size)
    ImageDraw.Draw(glow).ellipse((x - 2 * r, y - 2 * r, x + 2 * r, y + 2 * r), fill=110)
    glow = glow.filter(ImageFilter.GaussianBlur(r))
    image.paste(_colour(hue + 0.06, 0.2, 1), (0, 0), glow)
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=_colour(hue + 0.06, 0.15, 1))


def _ridge(dice: random.Random, wide: int, high: int, base: float) -> list[tuple[float, float]]:
    waves = [(dice.uniform(1, 6), dice.uniform(0, 6.3), dice.uniform(0.01, 0.05)) for _ in "abc"]
    line = [
        (x, high * (base + sum(a * math.sin(f * x / wide * 3 + p) for f, p, a in waves)))
        for x in range(0, wide + 8, 8)
    ]
    return [(0, high), *line, (wide, high)]


def _hills(dice: random.Random, wide: int, high: int) -> Image.Image:
    hue = dice.choice((0.03, 0.06, 0.55, 0.6, 0.93))
    image = _sky(dice, wide, high, hue)
    _sun(image, dice, hue)
    draw = ImageDraw.Draw(image)
    ground = dice.choice((0.28, 0.36, 0.62, 0.05))
    for layer in range(5):
        fill = _colour(ground + layer * 0.015, 0.3 + layer * 0.08, 0.75 - layer * 0.13)
        draw.polygon(_ridge(dice, wide, high, 0.5 + layer * 0.11), fill=fill)
    return image


def _sea(dice: random.Random, wide: int, high: int) -> Image.Image:
    hue = dice.choice((0.02, 0.08, 0.58, 0.85))
    image = _sky(dice, wide, high, hue)
    _sun(image, dice, hue)
    draw = ImageDraw.Draw(image)
    for layer in range(7):
        fill = _colour(0.55 + layer * 0.01, 0.35 + layer * 0.06, 0.85 - layer * 0.09)
        draw.polygon(_ridge(dice, wide, high, 0.58 + layer * 0.065), fill=fill)
    return image


def _cup(dice: random.Random, wide: int, high: int) -> Image.Image:
    wall, cup = dice.choice(((0.08, 0.55), (0.5, 0.05), (0.12, 0.95), (0.65, 0.1)))
    image = Image.new("RGB", (wide, high), _colour(wall, 0.18, 0.93))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, high * 0.7, wide, high), fill=_colour(wall + 0.02, 0.45, 0.6))
    x, y, r = wide * dice.uniform(0.38, 0.58), high * 0.48, high * 0.2
    colour = _colour(cup, 0.55, 0.85)
    draw.ellipse(
        (x + r * 0.6, y - r * 0.1, x + r * 1.7, y + r), outline=colour, width=round(r * 0.22)
    )
    draw.rounded_rectangle((x - r, y - r * 0.6, x + r, y + r * 1.2), radius=r * 0.5, fill=colour)
    for side in (-1, 1):  # ears
        draw.polygon(
            [(x + side * r, y), (x + side * r, y - r * 1.2), (x + side * r * 0.3, y - r * 0.5)],
            fill=colour,
        )
        eye = x + side * r * 0.4
        draw.ellipse((eye - 9, y + r * 0.2 - 9, eye + 9, y + r * 0.2 + 9), fill=(40, 30, 25))
    return image


def _window(dice: random.Random, wide: int, high: int) -> Image.Image:
    hue = dice.choice((0.55, 0.6, 0.03, 0.75))
    view = _sky(dice, wide, high, hue)
    _sun(view, dice, hue)
    draw = ImageDraw.Draw(view)
    fill = _colour(dice.choice((0.3, 0.4)), 0.4, 0.5)
    draw.polygon(_ridge(dice, wide, high, 0.7), fill=fill)
    frame = _colour(0.08, 0.25, dice.uniform(0.3, 0.95))
    bar = high // 24
    draw.rectangle((0, 0, wide - 1, high - 1), outline=frame, width=bar * 3)
    draw.rectangle((wide // 2 - bar, 0, wide // 2 + bar, high), fill=frame)
    draw.rectangle((0, high // 2 - bar // 2, wide, high // 2 + bar // 2), fill=frame)
    x, y, r = wide * dice.uniform(0.25, 0.75), high * 0.86, high * 0.16
    cat = _colour(0.07, 0.4, dice.choice((0.15, 0.25, 0.75)))
    draw.ellipse((x - r, y - r * 0.9, x + r, y + r * 1.4), fill=cat)
    draw.ellipse((x - r * 0.6, y - r * 1.8, x + r * 0.6, y - r * 0.6), fill=cat)
    for side in (-1, 1):
        draw.polygon(
            [
                (x + side * r * 0.58, y - r * 1.2),
                (x + side * r * 0.5, y - r * 2.1),
                (x + side * r * 0.1, y - r * 1.7),
            ],
            fill=cat,
        )
    return view
