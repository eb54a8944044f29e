"""Films and folders made by mutation of sound ones, read by our reader and by FFmpeg's own: no third outcome.

Every film is either refused with a fault, or read as the pictures that the `ffmpeg` command shows, frame for frame and
at the same size, forwards and in any order. Every folder is either refused, or read in the order of its numbers with
the pictures that were drawn. `glus check` and the reader refuse the same inputs. Inputs that were left sound have to be
read. Needs the `ffmpeg` command; prints what was refused and why, and every third outcome.

    python experiments/fuzz_real_input.py --films 300 --folders 300
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from glus.errors import InputError
from glus.media.sources import FrameSource, open_frames
from glus.staging.checks import check_dataset
from glus.staging.faults import errors

WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 12
NEAR = 4.0  # mean difference of grey levels: rounding of colours and of scaling
# codec, its options, pixel formats, containers
CODECS = (  # FFV1 with its checksums: without them damage cannot be told from pictures
    ("libx264", "-g 5", ("yuv420p", "yuv444p", "yuvj420p", "yuv420p10le"), ("mp4", "mov", "mkv", "ts", "flv")),
    ("libx264", "-g 6 -bf 3 -x264-params open-gop=1", ("yuv420p",), ("mp4", "mkv", "mov")),
    ("mpeg4", "-g 4", ("yuv420p",), ("mp4", "avi", "mkv")),
    ("libvpx", "-b:v 300k -auto-alt-ref 1 -lag-in-frames 10", ("yuv420p",), ("webm", "mkv")),
    ("libvpx-vp9", "-b:v 300k -cpu-used 8 -g 6", ("yuv420p", "yuv444p"), ("webm", "mkv")),
    ("mjpeg", "-q:v 3", ("yuvj420p", "yuvj444p"), ("avi", "mov", "mkv")),
    ("ffv1", "-level 3 -slicecrc 1", ("yuv420p", "gray", "bgr0", "gray16le"), ("avi", "mkv")),
    ("mpeg2video", "-g 4 -bf 2", ("yuv420p",), ("ts", "mpg")),
)
RATES = ("10", "25", "30000/1001", "60", "24000/1001")
MATRICES = ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0))


@dataclass
class Input:
    """A mutated film or folder.

    Attributes:
        sound: whether it has to be read.
        mutations: what was done to it.
        drawn: of a folder: the numbers of the frames that it shows.
    """

    path: Path
    sound: bool = True
    mutations: list[str] = field(default_factory=list)
    drawn: list[int] = field(default_factory=lambda: list(range(NUM_FRAMES)))


def draw(number: int) -> Image.Image:
    """A frame whose white bar tells its number; no turn or mirroring leaves it as it is."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (90, 110, 130))
    painter = ImageDraw.Draw(picture)
    painter.rectangle((0, 0, number * 8 + 4, 5), fill=(255, 255, 255))
    painter.ellipse((6 + number * 6, 24, 22 + number * 6, 40), fill=(220, 30, 30))
    painter.rectangle((4, 50, 14, 60), fill=(30, 60, 220))
    return picture


def ffmpeg(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False)


# ---------------------------------------------------------------- films


def make_film(random_: random.Random, folder: Path, drawn: Path) -> Input:
    codec, options, formats, containers = random_.choice(CODECS)
    pixel_format, container, rate = random_.choice(formats), random_.choice(containers), random_.choice(RATES)
    film = Input(folder / f"film.{container}", mutations=[codec, pixel_format, container, rate])
    filters = []
    if random_.random() < 0.25:
        shape = random_.choice(("2", "1/2", "16/15", "4/3"))
        filters.append(f"setsar={shape}")
        film.mutations.append(f"pixels {shape}")
    if random_.random() < 0.2 and container in ("mp4", "mov", "mkv", "webm"):
        filters.append("setpts='if(lt(N,6),N,6+(N-6)*7)/TB/10'")
        film.mutations.append("variable rate")
    inputs: list[str | Path] = ["-framerate", rate, "-i", drawn / "%05d.png"]
    sound: list[str | Path] = []
    if random_.random() < 0.3 and container != "avi":
        seconds = random_.choice((0.2, 1.0, 3.0))
        sound = ["-f", "lavfi", "-t", str(seconds), "-i", "sine"]
        film.mutations.append(f"{seconds} s of sound")
    made = [*(["-vf", ",".join(filters)] if filters else []), "-c:v", codec, *options.split(), "-pix_fmt", pixel_format]
    passthrough = ["-fps_mode", "passthrough"] if "variable rate" in film.mutations else []
    done = ffmpeg(*inputs, *sound, *made, *passthrough, film.path)
    if done.returncode or not film.path.is_file():
        raise RuntimeError(f"{film.mutations}: {done.stderr.decode()[-300:]}")
    for mutate in (trim, add_stream, turn):
        if random_.random() < 0.2:
            mutate(random_, film)
    if random_.random() < 0.4:
        random_.choice((truncate, flip, overwrite))(random_, film)
    return film


def _replace(film: Input, *arguments: str | Path, said: str) -> None:
    new = film.path.with_name(f"new{film.path.suffix}")
    if ffmpeg(*arguments, new).returncode == 0 and new.stat().st_size:
        new.replace(film.path)
        film.mutations.append(said)


def trim(random_: random.Random, film: Input) -> None:
    start = random_.choice(("0.05", "0.15", "0.3"))
    _replace(film, "-ss", start, "-i", film.path, "-c", "copy", said=f"trimmed at {start} s without encoding")


def add_stream(random_: random.Random, film: Input) -> None:
    """A second, larger film, a smaller default one, or a cover."""
    if film.path.suffix not in (".mp4", ".mkv", ".mov"):
        return
    other = film.path.with_name(f"other{film.path.suffix}")
    size = random_.choice(("160x120", "48x32"))
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}:r=10:d=1", "-c:v", "mpeg4", other)
    marks = random_.choice((["-disposition:v:1", "0"], ["-disposition:v:0", "0", "-disposition:v:1", "default"], []))
    maps = ["-map", "0", "-map", "1:v", "-c", "copy", *marks]
    _replace(film, "-i", film.path, "-i", other, *maps, said=f"a second stream {size} {marks}")


def turn(random_: random.Random, film: Input) -> None:
    if film.path.suffix not in (".mp4", ".mov"):
        return
    matrix = random_.choice(MATRICES)
    new = film.path.with_name(f"turned{film.path.suffix}")
    with av.open(str(film.path)) as source, av.open(str(new), "w") as target:
        streams = {}
        for stream in source.streams:
            if stream.type in ("video", "audio"):
                streams[stream.index] = target.add_stream_from_template(stream)
                if stream.type == "video":
                    a, b, c, d = (entry * 65536 for entry in matrix)
                    streams[stream.index].set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for packet in source.demux():
            if packet.size and packet.stream_index in streams:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    new.replace(film.path)
    film.mutations.append(f"turned {matrix}")


def truncate(random_: random.Random, film: Input) -> None:
    content, share = film.path.read_bytes(), random_.uniform(0.05, 0.98)
    film.path.write_bytes(content[: int(len(content) * share)])
    film.mutations.append(f"cut at {share:.0%}")
    film.sound = False


def flip(random_: random.Random, film: Input) -> None:
    content = bytearray(film.path.read_bytes())
    for _ in range(random_.choice((1, 3, 20))):
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    film.path.write_bytes(content)
    film.mutations.append("bits flipped")
    film.sound = False


def overwrite(random_: random.Random, film: Input) -> None:
    content = bytearray(film.path.read_bytes())
    start = random_.randrange(len(content))
    content[start : start + 200] = bytes(len(content[start : start + 200]))
    film.path.write_bytes(content)
    film.mutations.append("zeros written")
    film.sound = False


def shown_by_ffmpeg(film: Path, size: tuple[int, int], stream: int) -> np.ndarray:
    """What the `ffmpeg` command shows, uint8 [T, H, W, 3], pixels made square by enlarging."""
    square = "scale=w='if(gt(sar,1),round(iw*sar),iw)':h='if(lt(sar,1)*gt(sar,0),round(ih/sar),ih)',setsar=1"
    raw = ("-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    done = ffmpeg("-i", film, "-map", f"0:{stream}", "-fps_mode", "passthrough", "-vf", square, *raw)
    pixels = np.frombuffer(done.stdout, np.uint8)
    width, height = size
    whole = len(pixels) // (width * height * 3)
    return pixels[: whole * width * height * 3].reshape(whole, height, width, 3)


def default_stream(film: Path) -> int:
    """The stream that the `ffmpeg` command takes by itself."""
    said = subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-i", film, "-t", "0", "-an", "-f", "null", "-"],
        capture_output=True, text=True, errors="replace", check=False,
    ).stderr  # fmt: skip
    line = next((line for line in said.splitlines() if "Stream #0:" in line and "->" in line), "Stream #0:0 ->")
    return int(line.split("#0:")[1].split()[0])


def compare_film(film: Input, source: FrameSource, random_: random.Random) -> str:
    """What differs between a film as we read it and as FFmpeg shows it; empty where nothing does."""
    ours = [np.asarray(picture).astype(int) for picture in source]
    theirs = shown_by_ffmpeg(film.path, source.size, default_stream(film.path))
    if len(ours) != len(theirs):
        return f"{len(ours)} frames, ffmpeg shows {len(theirs)}"
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if (difference := float(np.abs(mine - other).mean())) > NEAR:
            return f"frame {number} differs by {difference:.1f} grey levels"
    order = random_.sample(range(len(ours)), len(ours))
    for number in [*order, *reversed(range(len(ours)))]:
        if (np.asarray(source[number]) != ours[number]).any():
            return f"frame {number} differs when it is read out of order"
    times = source.times_s or ()
    if list(times) != sorted(set(times)):
        return f"times do not ascend: {times}"
    return ""


# ---------------------------------------------------------------- folders

NAMES = ("{:05d}", "{}", "frame{}", "frame_{:03d}", "v2_cam1_{}", "{:04d}_left", "IMG {}", "2024-05-01_{}")
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def make_folder(random_: random.Random, folder: Path, drawn: Path) -> Input:
    path = folder / "frames"
    path.mkdir()
    name, first = random_.choice(NAMES), random_.choice((0, 1, 95, 9995))
    step, suffix = random_.choice((1, 1, 5)), random_.choice((".jpg", ".png", ".JPG", ".jpeg", ".bmp", ".webp"))
    frames = Input(path, mutations=[name, f"from {first} by {step}", suffix])
    files = [path / f"{name.format(first + step * number)}{suffix}" for number in range(NUM_FRAMES)]
    orientation = random_.choice(tuple(ORIENTATIONS)) if random_.random() < 0.3 and suffix != ".bmp" else 1
    for number, file in enumerate(files):
        _save(draw(number), file, orientation)
    if orientation > 1:
        frames.mutations.append(f"orientation {orientation}")
    changes = (beside, gap, other_suffix, other_mode, stranger, twice, cut, empty, other_size, animation, not_a_picture)
    for change in random_.sample(changes, random_.choice((0, 1, 1, 2))):
        there = {file.stem: file for file in path.iterdir()}
        change(random_, frames, [there[files[number].stem] for number in frames.drawn])
    return frames


def _save(picture: Image.Image, file: Path, orientation: int = 1, **options: object) -> None:
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
        options["exif"] = exif
        picture = picture.transpose(ORIENTATIONS[orientation])
    if file.suffix.lower() in (".jpg", ".jpeg"):
        options.update(quality=95, subsampling=0)
    elif file.suffix == ".webp":
        options["lossless"] = True
    picture.save(file, **options)  # type: ignore[arg-type]


def beside(random_: random.Random, frames: Input, files: list[Path]) -> None:
    name = random_.choice((".DS_Store", "._00003.jpg", "Thumbs.db", "notes.txt", "labels.json", "other/"))
    (frames.path / name).mkdir() if name.endswith("/") else (frames.path / name).write_bytes(b"\0\5\x16\7")
    frames.mutations.append(f"beside them {name}")


def gap(random_: random.Random, frames: Input, files: list[Path]) -> None:
    number = random_.randrange(1, len(files) - 1)
    files[number].unlink()
    del frames.drawn[number]
    frames.mutations.append("a frame is missing")


def other_suffix(random_: random.Random, frames: Input, files: list[Path]) -> None:
    if not frames.sound:
        return
    file = random_.choice(files)
    with Image.open(file) as image:
        picture = image.copy()
        picture.save(file.with_suffix(".png"), exif=image.getexif())
    if file.suffix != ".png":
        file.unlink()
    frames.mutations.append("one is a .png")


def other_mode(random_: random.Random, frames: Input, files: list[Path]) -> None:
    mode = random_.choice(("RGBA", "P", "I;16", "L", "CMYK", "transparent"))
    number = random_.randrange(len(files))
    file = files[number].with_suffix(".jpg" if mode == "CMYK" else ".png")
    files[number].unlink()
    picture = draw(frames.drawn[number])
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "transparent":
        picture.putalpha(100)
    else:
        picture = picture.quantize(64) if mode == "P" else picture.convert(mode)
    picture.save(file)
    frames.sound = frames.sound and mode in ("RGBA", "P", "L")
    if "orientation" in str(frames.mutations):
        frames.mutations.append("(this one upright)")
    frames.mutations.append(f"one is of mode {mode}")


def stranger(random_: random.Random, frames: Input, files: list[Path]) -> None:
    draw(0).save(frames.path / random_.choice(("cover.jpg", "00003_mask.png", "thumb2.jpg")))
    frames.mutations.append("another picture")
    frames.sound = False


def twice(random_: random.Random, frames: Input, files: list[Path]) -> None:
    file = random_.choice(files)
    shutil.copyfile(file, file.with_suffix(".webp" if file.suffix != ".webp" else ".png"))
    frames.mutations.append("a number twice")
    frames.sound = False


def cut(random_: random.Random, frames: Input, files: list[Path]) -> None:
    file = random_.choice(files)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * random_.uniform(0, 0.95))])
    frames.mutations.append("one is cut")
    frames.sound = False


def empty(random_: random.Random, frames: Input, files: list[Path]) -> None:
    random_.choice(files).write_bytes(b"")
    frames.mutations.append("one is empty")
    frames.sound = False


def other_size(random_: random.Random, frames: Input, files: list[Path]) -> None:
    file = random_.choice(files)
    draw(0).resize((WIDTH, HEIGHT - 8)).save(file)
    frames.mutations.append("one has another size")
    frames.sound = False


def animation(random_: random.Random, frames: Input, files: list[Path]) -> None:
    file = random_.choice(files)
    draw(0).save(file, "PNG", save_all=True, append_images=[draw(1)])
    frames.mutations.append("one is an animation")
    frames.sound = False


def not_a_picture(random_: random.Random, frames: Input, files: list[Path]) -> None:
    random_.choice(files).write_text("<html>404</html>")
    frames.mutations.append("one is no picture")
    frames.sound = False


def compare_folder(frames: Input, source: FrameSource) -> str:
    if len(source) != len(frames.drawn):
        return f"{len(source)} frames, {len(frames.drawn)} were drawn"
    for number, picture in zip(frames.drawn, source, strict=True):
        drawn = draw(number)
        if picture.size != drawn.size:
            return f"frame {number} is {picture.size}"
        grey = "mode L" in str(frames.mutations)
        pair = [np.asarray(item.convert("L") if grey else item).astype(int) for item in (picture, drawn)]
        if (difference := float(np.abs(pair[0] - pair[1]).mean())) > NEAR:
            return f"frame {number} differs by {difference:.1f} grey levels"
    return ""


# ---------------------------------------------------------------- both


def refused_by_check(made: Input, folder: Path) -> bool:
    """Whether `glus check` refuses the input as a video of an own dataset."""
    split = folder / "own" / "test"
    place = split / ("JPEGImages/cat" if made.path.is_dir() else f"Videos/cat{made.path.suffix}")
    place.parent.mkdir(parents=True)
    (shutil.copytree if made.path.is_dir() else shutil.copyfile)(made.path, place)
    (split / "expressions.csv").write_text("video,expression,objects\ncat,the red disc,\n")
    return bool(errors(check_dataset("own", split.parent, "test")))


def outcome(made: Input, folder: Path, random_: random.Random) -> tuple[str, str]:
    """`same`, `fault` or `THIRD`, and what was said."""
    try:
        source = open_frames(made.path)
    except InputError as problem:
        said = str(problem).replace(str(folder), "")
        if made.sound:
            return "THIRD", f"sound, but refused: {said}"
        return ("fault", said) if refused_by_check(made, folder) else ("THIRD", f"`glus check` is silent about: {said}")
    differs = compare_folder(made, source) if made.path.is_dir() else compare_film(made, source, random_)
    if differs:
        return "THIRD", differs
    return ("THIRD", "`glus check` refuses it") if refused_by_check(made, folder) else ("same", "")


def run(films: int, folders: int, seed: int) -> dict[str, Counter[str]]:
    """Makes the inputs, prints what becomes of them, and counts it by kind."""
    counts = {"films": Counter[str](), "folders": Counter[str]()}
    with tempfile.TemporaryDirectory() as scratch:
        drawn = Path(scratch) / "drawn"
        drawn.mkdir()
        for number in range(NUM_FRAMES):
            draw(number).save(drawn / f"{number:05d}.png")
        for kind, make, count in (("films", make_film, films), ("folders", make_folder, folders)):
            for index in range(count):
                random_ = random.Random(f"{seed} {kind} {index}")
                folder = Path(scratch) / f"{kind}{index}"
                folder.mkdir()
                made = make(random_, folder, drawn)
                found, said = outcome(made, folder, random_)
                counts[kind][found] += 1
                if found != "same":
                    print(f"{found} {kind} {index}: {', '.join(made.mutations)}: {said}", flush=True)
                shutil.rmtree(folder)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=300)
    parser.add_argument("--folders", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = run(options.films, options.folders, options.seed)
    for kind, count in counts.items():
        print(f"{kind}: {dict(sorted(count.items()))}")
    sys.exit(any(count["THIRD"] for count in counts.values()))


if __name__ == "__main__":
    main()
