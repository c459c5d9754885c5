"""Makes the reference images with Pillow 13.0.0: what torchvision's transforms make of an image file, as PNG."""
import numpy as np
from PIL import Image

rng = np.random.default_rng(1)


def picture(width, height, channels):
    """Smooth shapes with some noise."""
    coarse = rng.integers(0, 256, (5, 6, channels)).astype(np.float32)
    planes = [np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.BICUBIC)) for c in range(channels)]
    return np.clip(np.stack(planes, -1) * 0.7 + 38 + rng.normal(0, 3, (height, width, channels)), 0, 255).astype(np.uint8)


rgb = Image.fromarray(picture(61, 47, 3))
rgb.save("rgb.png")
rgb.save("rgb420.jpg", quality=95, subsampling=2)
rgb.save("rgb422.jpg", quality=95, subsampling=1)
rgb.save("rgb444.jpg", quality=95, subsampling=0)
rgb.save("progressive.jpg", quality=95, progressive=True)
rgb.convert("L").save("grey.jpg", quality=95)
Image.fromarray(picture(61, 47, 4), "CMYK").save("cmyk.jpg", quality=95)
Image.fromarray(picture(61, 47, 4), "RGBA").save("rgba.png")
rgb.quantize(32).save("palette.png")
rgb.transpose(Image.Transpose.ROTATE_90).save("tall.png")

for name in ["rgb.png", "rgb420.jpg", "rgb422.jpg", "rgb444.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgba.png", "palette.png",
             "tall.png"]:
    image = Image.open(name).convert("RGB")
    width, height = image.size
    # Resize(20), CenterCrop(16)
    if width < height:
        resized = image.resize((20, int(20 * height / width)), Image.BILINEAR)
    else:
        resized = image.resize((int(20 * width / height), 20), Image.BILINEAR)
    left, top = round((resized.width - 16) / 2), round((resized.height - 16) / 2)
    resized.crop((left, top, left + 16, top + 16)).save("center-" + name + ".png")
    # crops to 16 x 16: made smaller, and larger
    for i, (x, y, w, h) in enumerate([(3, 5, 40, 33), (7, 2, 11, 13)]):
        image.crop((x, y, x + w, y + h)).resize((16, 16), Image.BILINEAR).save(f"crop{i}-{name}.png")
