"""Makes a folder of 120 images of ImageNet's usual size of photographs: photographs.py FOLDER FILE...

The record is of astronaut, chelsea, coffee, hubble_deep_field, ihc, motorcycle_left, retina and rocket, which scikit-image has,
and china and flower, which scikit-learn has.
"""
import pathlib
import random
import sys

from PIL import Image

folder, sources = pathlib.Path(sys.argv[1]), sorted(sys.argv[2:])
draw = random.Random(1)
for i in range(120):
    image = Image.open(sources[i % len(sources)]).convert("RGB")
    width = int(min(image.width, image.height * 4 / 3) * draw.uniform(0.6, 1))
    height = width * 3 // 4
    x, y = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    image = image.crop((x, y, x + width, y + height)).resize((500, 375), Image.BICUBIC)
    for part in ["train", "val"][: 2 if i < 20 else 1]:
        place = folder / part / f"n{i % 10:08d}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{i}.JPEG", quality=95)
