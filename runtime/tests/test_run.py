"""`siman-run`: from a picture to a table."""

import io
import json
import struct
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from tflite_models import Builder, Convolution

from siman_runtime import Interpreter
from siman_runtime.classifier import probabilities
from siman_runtime.preparation import Preparation, fit_picture, open_picture
from siman_runtime.run import main

image_module = pytest.importorskip("PIL.Image")

OP = Convolution(height=12, width=10, channels=3, filters=4, kernel=(12, 10), padding=1, seed=4)


SETTINGS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1], "class_names": list("abcd")}


def model_with(settings, name="siman_input", op=OP) -> bytes:
    b = Builder()
    b.metadata("min_runtime_version", b"1.5.0")
    if settings is not None:
        b.metadata(name, settings if isinstance(settings, bytes) else json.dumps(settings).encode())
    x = b.tensor(op.shape, np.float32)
    return b.build([x], [op.append(b, x)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A file that says how its pictures are prepared, one that does not, and a picture."""
    (tmp_path / "model.tflite").write_bytes(model_with(SETTINGS))
    (tmp_path / "bare.tflite").write_bytes(model_with(None))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "image.png")
    (tmp_path / "names.txt").write_text("w\nx\ny\nz\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def classified(capsys, *arguments) -> "tuple[str, dict[str, str]]":
    """How the input was prepared, and the share of each class."""
    main([*map(str, arguments)])
    first, _, _, *rows = capsys.readouterr().out.splitlines()
    return first, {row.split()[-1]: row.split()[0] for row in rows}


def expected_shares(pixels, mean, std) -> "dict[str, str]":
    x = (np.asarray(pixels, np.float32) / 255 - np.float32(mean)) / np.float32(std)
    scores = probabilities(Interpreter(OP.model()).predict(x[None]))
    return dict(zip("abcd", (f"{100 * s:.2f}" for s in scores), strict=True))


def test_the_file_says_how_to_prepare(folder, capsys):
    pixels = np.asarray(image_module.open("image.png"))
    expected = expected_shares(pixels, SETTINGS["mean"], SETTINGS["std"])
    told, shares = classified(capsys, "model.tflite", "image.png")
    assert told == "input prepared as in model.tflite"
    assert shares == expected
    _, best = classified(capsys, "model.tflite", "image.png", "--top", "2")
    assert list(best) == sorted(expected, key=lambda n: -float(expected[n]))[:2]
    # The file's own word counts more than that of a neighbour, which may be of another file.
    (folder / "input.json").write_text(json.dumps(SETTINGS))
    assert classified(capsys, "model.tflite", "image.png") == (told, expected)
    (folder / "input.json").write_text('{"mean": [0], "std": [1]}')
    told, shares = classified(capsys, "model.tflite", "image.png")
    assert "input.json says something else and is not used" in told
    assert shares == expected


def test_files_of_before_are_read_with_their_run_folder(folder, capsys):
    (folder / "input.json").write_text(json.dumps(SETTINGS))
    told, shares = classified(capsys, "bare.tflite", "image.png")
    assert told == "input prepared as in input.json"
    assert shares == classified(capsys, "model.tflite", "image.png")[1]


def test_a_file_that_says_nothing(folder, capsys):
    for flags in ([], ["--mean", "0.5"], ["--std", "0.5"]):
        with pytest.raises(SystemExit, match=r"does not say how.* give --mean and --std"):
            main(["bare.tflite", "image.png", *flags])
    flags = ["--mean", "0.4", "0.5", "0.6", "--std", "0.2", "0.3", "0.1", "--labels", "names.txt"]
    told, shares = classified(capsys, "bare.tflite", "image.png", *flags)
    assert told == "input prepared as in --mean, --std"
    assert sorted(shares) == list("wxyz")
    _, expected = classified(capsys, "model.tflite", "image.png")
    assert list(shares.values()) == list(expected.values())


def test_flags_change_what_the_file_says(folder, capsys):
    flags = ["--mean", "0.5", "--std", "0.25", "--picture-size", "8", "6", "--grey"]
    told, shares = classified(capsys, "model.tflite", "image.png", *flags)
    assert told.endswith("model.tflite, but for --mean, --std, --picture-size, --grey")
    image = image_module.open("image.png").convert("L").resize((6, 8), 2, box=(0.5, 0, 9.5, 12))
    pixels = np.zeros((12, 10, 3), np.uint8)
    pixels[2:10, 2:8] = np.asarray(image)[..., None]
    assert shares == expected_shares(pixels, 0.5, 0.25)


@pytest.mark.parametrize(
    "text", ["w\nx\ny\nz\n\n", "\ufeffw\r\nx\r\ny\r\nz\r\n \r\n", "w\nx\ny\nz"]
)
def test_labels_that_end_in_blank_lines(folder, capsys, text):
    (folder / "names.txt").write_bytes(text.encode())
    _, shares = classified(capsys, "model.tflite", "image.png", "--labels", "names.txt")
    assert sorted(shares) == list("wxyz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite", "image.png"], "no model at"),
        ([".", "image.png"], "no model at .*a folder"),
        (["image.png", "image.png"], "is no TFLite file"),
        (["empty", "image.png"], "0 bytes. is no TFLite file"),
        (["model.tflite", "absent.png"], "absent.png is no picture"),
        (["model.tflite", "model.tflite"], "is no picture that Pillow reads"),
        (["model.tflite", "."], "is no picture that Pillow reads"),
        (["model.tflite", "empty"], "is no picture that Pillow reads"),
        (["model.tflite", "image.png", "--std", "0"], "above 0"),
        (["model.tflite", "image.png", "--std", "nan"], "finite"),
        (["model.tflite", "image.png", "--mean", "inf"], "finite"),
        (["model.tflite", "image.png", "--crop", "2"], "above 0 and up to 1"),
        (["model.tflite", "image.png", "--crop", "nan"], "above 0 and up to 1"),
        (["model.tflite", "image.png", "--mean", "1", "2"], "mean has 2 values"),
        (["model.tflite", "image.png", "--picture-size", "0", "4"], "height and width above 0"),
        (["model.tflite", "image.png", "--picture-size", "13", "4"], "13 x 4 does not fit"),
        (["model.tflite", "image.png", "--top", "0"], "--top 0: at least 1"),
        (["model.tflite", "image.png", "--threads", "0"], "num_threads=0: 1 to 64"),
        (["model.tflite", "image.png", "--labels", "short.txt"], "3 labels; the model has 4"),
        (["model.tflite", "image.png", "--labels", "long.txt"], "5 labels; the model has 4"),
        (["model.tflite", "image.png", "--labels", "image.png"], "no text in UTF-8"),
        (["model.tflite", "image.png", "--labels", "empty"], "--labels empty: it names no class"),
        (["model.tflite", "image.png", "--labels", "blank.txt"], "blank.txt: it names no class"),
        (["model.tflite", "image.png", "--labels", "absent.txt"], "absent.txt"),
        (["model.tflite", "image.png", "--labels", "."], "directory"),
    ],
)
def test_errors(folder, arguments, message):
    (folder / "empty").write_bytes(b"")
    (folder / "short.txt").write_text("a\nb\nc\n\n")
    (folder / "long.txt").write_text("a\n\nb\nc\nd\n")
    (folder / "blank.txt").write_text("\n \n")
    with pytest.raises(SystemExit, match=message) as raised:
        main(arguments)
    assert raised.value.code.startswith("siman-run: ")
    assert "\n" not in raised.value.code


@pytest.mark.parametrize(
    "settings",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"mean": 3}',
        b'{"mean": [1], "std": [0]}',
        b'{"mean": [NaN], "std": [1]}',
        b'{"mean": [0], "std": [1], "is_grey": "false"}',
        b'{"mean": ["0.5"], "std": [1]}',
        b'{"mean": "05", "std": [1]}',
        b'{"mean": [true], "std": [1]}',
        b'{"mean": [], "std": [1]}',
        b'{"mean": [0], "std": [1e-60]}',  # 0 in float32
        b'{"mean": [0], "std": [1], "picture_size": [4.7, 4]}',
        b'{"mean": [0], "std": [1], "picture_size": [1e400, 4]}',
        b'{"mean": [0], "std": [1], "class_names": "abcd"}',
        b'{"mean": [0], "std": [1], "class_names": {"0": "a", "1": "b"}}',
    ],
)
def test_damaged_settings(folder, settings):
    (folder / "input.json").write_bytes(settings)
    with pytest.raises(SystemExit, match="input.json is damaged"):
        main(["bare.tflite", "image.png"])
    (folder / "model.tflite").write_bytes(model_with(settings))
    with pytest.raises(SystemExit, match="model.tflite is damaged"):
        main(["model.tflite", "image.png"])


def test_names_that_the_terminal_lacks(folder, monkeypatch):
    (folder / "names.txt").write_text("Ärmel\n靴\nx\ny\n", "utf-8")
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, "ascii"))
    main(["model.tflite", "image.png", "--labels", "names.txt"])
    sys.stdout.flush()
    assert b"\\xc4rmel" in screen.getvalue()
    assert b"\\u9774" in screen.getvalue()


def test_labels_in_the_file_that_do_not_fit(folder):
    (folder / "model.tflite").write_bytes(model_with(SETTINGS | {"class_names": ["a"]}))
    with pytest.raises(SystemExit, match="1 labels; the model has 4 classes"):
        main(["model.tflite", "image.png"])


def png(depth: int, color: int, rows: np.ndarray, palette: bytes = b"") -> bytes:
    """A PNG file as the standard has it, of kinds that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    height, width = rows.shape[:2]
    data = rows.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1)
    if depth < 8:
        bits = (data[..., None] >> np.arange(depth)[::-1]) & 1
        data = np.packbits(bits.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in data)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*p) for p in parts if p[1] or p[0] == b"IEND")


GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


@pytest.mark.parametrize(
    ("color", "depth"),
    [(color, depth) for color in (GREY, RGB, GREY_ALPHA, RGBA) for depth in (8, 16)]
    + [(color, depth) for color in (GREY, PALETTE) for depth in (1, 2, 4)]
    + [(PALETTE, 8)],
)
def test_every_kind_of_png_is_what_training_decodes(tmp_path, color, depth):
    """As libpng's 8 bits are defined: the upper byte of 16, colours without their alpha."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**depth, (12, 10, CHANNELS[color]))
    palette = rng.integers(0, 256, (2**depth if color == PALETTE else 0, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    path.write_bytes(png(depth, color, values, palette.tobytes()))
    if color == PALETTE:
        expected = palette[values[..., 0]]
    else:
        eight = values >> 8 if depth == 16 else values * 255 // (2**depth - 1)
        expected = eight[..., :3] if color in (RGB, RGBA) else eight[..., [0, 0, 0]]
    plain = Preparation(mean=[0.0], std=[1.0])
    np.testing.assert_array_equal(fit_picture(open_picture(path), (12, 10, 3), plain), expected)
    if color in (GREY, GREY_ALPHA):
        np.testing.assert_array_equal(
            fit_picture(open_picture(path), (12, 10, 1), plain), expected[..., :1]
        )


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_turned_as_their_exif_says(tmp_path, turn):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    flipped = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 7: pixels[::-1, ::-1]}
    expected = flipped.get(turn, pixels)
    if turn in (5, 7):
        expected = expected.transpose(1, 0, 2)
    elif turn in (6, 8):
        expected = np.rot90(pixels, -1 if turn == 6 else 1)
    exif = image_module.Exif()
    exif[0x0112] = turn
    path = tmp_path / "picture.png"
    image_module.fromarray(pixels).save(path, exif=exif)
    result = fit_picture(open_picture(path), expected.shape, Preparation(mean=[0.0], std=[1.0]))
    np.testing.assert_array_equal(result, expected)


def test_cmyk(tmp_path):
    path = tmp_path / "picture.jpg"
    image_module.new("RGB", (10, 12), (10, 200, 90)).convert("CMYK").save(path, quality=100)
    result = fit_picture(open_picture(path), (12, 10, 3), Preparation(mean=[0.0], std=[1.0]))
    np.testing.assert_allclose(result, np.broadcast_to([10, 200, 90], result.shape), atol=3)


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("float.tiff", "F", "mode F, whose range is not known: save it as a PNG of 8 bits"),
        ("wide.tiff", "I", "mode I, whose range is not known"),
        ("sixteen.tiff", "I;16", "mode I;16, whose range is not known"),
        ("lab.tiff", "LAB", "mode LAB"),
    ],
)
def test_pictures_of_unknown_range(folder, name, mode, message):
    image_module.new(mode, (10, 12)).save(name)
    with pytest.raises(SystemExit, match=f"{name} has pixels of Pillow's {message}"):
        main(["model.tflite", name])


@pytest.mark.parametrize("name", ["animated.gif", "animated.png", "pages.tiff"])
def test_several_pictures_in_a_file(folder, name):
    frames = [image_module.new("RGB", (10, 12), (value, 0, 0)) for value in (0, 100, 200)]
    frames[0].save(name, save_all=True, append_images=frames[1:])
    with pytest.raises(SystemExit, match=f"{name} holds 3 pictures"):
        main(["model.tflite", name])


def test_truncated_pictures(folder):
    content = (folder / "image.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(SystemExit, match="cut.png is no picture that Pillow reads"):
        main(["model.tflite", "cut.png"])


def test_without_pillow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SystemExit, match=r'Pillow is needed .* pip install "siman-runtime.images'):
        main(["model.tflite", "image.png"])


@pytest.mark.parametrize(
    ("scale", "pixels", "shares"),
    [
        (1 / 256, [20, 200, 30, 4], [78.12, 11.72, 7.81, 1.56]),  # a sum of 254
        # 0.8, 0.2, 0.1 and 0.0, whose sum is near to 1 by chance.
        (0.1, [2, 8, 1, 0], [40.08, 22.0, 19.91, 18.01]),
    ],
)
def test_quantized_scores(tmp_path, capsys, scale, pixels, shares):
    """int8 probabilities in steps of 1/256 are probabilities, not scores for a softmax; those in
    steps of 0.1 are scores, of values up to 25.5."""
    b = Builder()
    x = b.tensor((1, 1, 4, 1), np.int8, scale=1.0, zero_point=-128)
    y = b.tensor((1, 4), np.int8, scale=scale, zero_point=-128)
    b.reshape(x, y)
    (tmp_path / "model.tflite").write_bytes(b.build([x], [y]))
    image_module.fromarray(np.array([pixels], np.uint8)).save(tmp_path / "image.png")
    flags = ["--mean", "0", "--std", str(1 / 255)]
    main([str(tmp_path / "model.tflite"), str(tmp_path / "image.png"), *flags])
    rows = capsys.readouterr().out.splitlines()[3:]
    assert rows[0].split()[1:] == ["%", "class", "1"]
    assert [float(row.split()[0]) for row in rows] == shares


def test_a_network_for_any_size_runs_at_the_size_that_is_named(tmp_path, capsys):
    b = Builder()
    x = b.tensor((1, 1, 1, 3), np.float32)
    b.graph.tensors[x].shapeSignature = [1, -1, -1, 3]
    y = replace(OP, height=1, width=1, padding=0).append(b, x)
    (tmp_path / "model.tflite").write_bytes(b.build([x], [y]))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 3), dtype=np.uint8)
    image_module.fromarray(pixels).resize((10, 12)).save(tmp_path / "image.png")
    rest = [str(tmp_path / "model.tflite"), str(tmp_path / "image.png"), "--mean", "0.5"]
    rest += ["--std", "0.5"]
    with pytest.raises(SystemExit, match="any size: give --picture-size HEIGHT WIDTH"):
        main(rest)
    main([*rest, "--picture-size", "1", "1"])
    assert len(capsys.readouterr().out.splitlines()) == 3 + 4
    with pytest.raises(SystemExit, match=r"output \(12, 10, 4\) is no list of scores"):
        main([*rest, "--picture-size", "12", "10"])


def test_one_score_is_no_share(tmp_path, capsys):
    op = Convolution(height=12, width=10, channels=3, filters=1, kernel=(12, 10), padding=1)
    (tmp_path / "model.tflite").write_bytes(op.model())
    image_module.new("RGB", (10, 12), (255, 255, 255)).save(tmp_path / "image.png")
    main([str(tmp_path / "model.tflite"), str(tmp_path / "image.png"), "--mean", "0", "--std", "1"])
    score = float(op.expected(np.ones(op.shape, np.float32)).item())
    assert capsys.readouterr().out.splitlines()[-1].split() == [f"{score:.6g}", "class", "0"]


def test_models_that_do_not_classify(tmp_path):
    wide = Convolution(height=4, width=4, channels=3, filters=5)
    (tmp_path / "wide.tflite").write_bytes(wide.model())
    b = Builder()
    x = b.tensor(wide.shape, np.float32)
    (tmp_path / "two.tflite").write_bytes(b.build([x], [wide.append(b, x), b.add(x, x)]))
    image_module.new("RGB", (4, 4)).save(tmp_path / "image.png")
    rest = [str(tmp_path / "image.png"), "--mean", "0", "--std", "1"]
    with pytest.raises(SystemExit, match=r"output \(4, 4, 5\) is no list of scores"):
        main([str(tmp_path / "wide.tflite"), *rest])
    with pytest.raises(SystemExit, match="1 inputs and 2 outputs"):
        main([str(tmp_path / "two.tflite"), *rest])
    b = Builder()
    x = b.tensor(wide.shape, np.float32)
    axes = b.constant(np.arange(4, dtype=np.int32))
    scalar = b.builtin("MEAN", [x, axes], (), "ReducerOptions", keepDims=False)
    (tmp_path / "scalar.tflite").write_bytes(b.build([x], [scalar]))
    with pytest.raises(SystemExit, match=r"output \(\) is no list of scores"):
        main([str(tmp_path / "scalar.tflite"), *rest])
    b = Builder()
    y = b.tensor((1, 4), np.float32)
    b.reshape(b.constant(np.ones(4, np.float32)), y)
    (tmp_path / "none.tflite").write_bytes(b.build([], [y]))
    with pytest.raises(SystemExit, match="0 inputs and 1 outputs"):
        main([str(tmp_path / "none.tflite"), *rest])


def test_values_without_a_scale_are_not_shown_as_shares(tmp_path):
    """A softmax of raw int8, or pixels rounded to steps that nobody named, would be wrong."""
    image_module.new("L", (4, 1)).save(tmp_path / "image.png")
    rest = [str(tmp_path / "image.png"), "--mean", "0", "--std", "1"]
    for scales, verb in (((None, 1.0), "takes"), ((1.0, None), "gives"), ((0.0, 1.0), "takes")):
        b = Builder()
        x, y = (
            b.tensor(shape, np.int8, scale)
            for shape, scale in zip([(1, 1, 4, 1), (1, 4)], scales, strict=True)
        )
        b.reshape(x, y)
        (tmp_path / "model.tflite").write_bytes(b.build([x], [y]))
        with pytest.raises(SystemExit, match=f"The model {verb} int8 with the scale (None|0.0); "):
            main([str(tmp_path / "model.tflite"), *rest])
