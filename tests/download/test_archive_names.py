# ruff: noqa: RUF001  letters that look like others are the point
"""File names of archives come out as they were, whatever wrote them, and are UTF-8 on disk."""

import io
import os
import struct
import tarfile
import unicodedata
import zipfile
import zlib

import pytest

from darkroom.download.archives.names import code_page
from darkroom.download.archives.unpack import unpack
from tests.helpers.archive_files import LIMITS, under

# Folders as people name them, with the code pages of the systems that they use: a folder in each string.
WEST = ["cp437", "cp850", "cp1252"]
FOLDERS = {
    "Schlüssel/1|Schlösser/2  Kürbis/1|Möhre/2|Rübe/3  Schildkröte/1|Fledermäuse/2  weiße Rosen/1  Käfer/1": WEST,
    "écureuil/1|hérisson/2  cassé/1|entier/2  vélo/1|métro/2  façade/1|intérieur/2  tête/1|épaule/2  forêt/hêtre": WEST,
    "iglesia gótica/1|catedral/2  tiburón/1|delfín/2  melón/1|sandía/2  araña/1  señal/peatón|señal/tráfico": WEST,
    "mamões/1|maçãs/2  tubarão/1|golfinho/2  ruínas/1|construções/2  mão/1|pé/2  lesão/benigna": WEST[1:],
    "ænder/1|gæs/2  jordbær/1|blåbær/2  køkken/1|værelse/2  sæl/1|søløve/2  nøgler/1|låse/2": WEST[1:],
    "truskawka świeża/1  Kraków/1|Wrocław/2|Gdańsk/3  gołąb/1|sójka/2  stół/1|łóżko/2  ręka/1": ["cp852", "cp1250"],
    "motýl/1|včela/2  jahoda čerstvá/1  Plzeň/1|Ústí/2  stůl/1|židle/2  rajče/1|zelí/2": ["cp852", "cp1250"],
    "pillangó/1|méh/2  Székesfehérvár/1  törött/1|ép/2  hó/1|eső/2  virág/szegfű": ["cp852", "cp1250"],
    "бабочка/1|пчела/2  Казань/1  стул/1|стол/2  ТРЕЩИНА/1|СКОЛ/2  снег/1|дождь/2  ёж/1|рак/2": ["cp866", "cp1251"],
    "метелик/1|бджола/2  Харків/1|Полтава/2  чоловік/1|жінка/2  тріщина/1": ["cp1251"],
    "蝶/1|蜂/2  いちご/1|メロン/2  表/1|裏/2  椅子/1|机/2  亀裂あり/1|亀裂なし/2  ソニー/本体": ["cp932"],
    "蝴蝶/1|蜜蜂/2  草莓/新鲜|草莓/腐烂  裂纹/1|划痕/2  西红柿/1|黄瓜/2  新建文件夹/图片": ["gbk"],
    "蝴蝶/1|蜜蜂/2  草莓/新鮮  裂紋/1|刮痕/2  番茄/1|小黃瓜/2  新增資料夾/圖片": ["big5"],
    "나비/1|벌/2  수박/1|참외/2  균열/1|긁힘/2  토마토/1|오이/2  새 폴더/사진": ["cp949"],
    "πεταλούδα/1|μέλισσα/2  καρέκλα/1|τραπέζι/2  χιόνι/1|βροχή/2  σπίτι/1": ["cp737", "cp1253"],
    "kelebek ve arı/1|çekirge/2  Eskişehir/1|Diyarbakır/2  kar yağışı/1  soğan/1|salatalık/2": ["cp857", "cp1254"],
}
ALL = [
    (page, [[f"{name}.jpg" for name in folder.split("|")] for folder in names.split("  ")])
    for names, pages in FOLDERS.items()
    for page in pages
]


@pytest.mark.parametrize(("page", "folders"), ALL)
def test_the_code_page_of_a_data_set_is_found(page, folders):
    names = [name for folder in folders for name in folder]
    raw = [name.encode(page) for name in names]
    assert [name.decode(code_page(raw)) for name in raw] == names
    assert code_page(raw) == code_page([*reversed(raw), b"ASCII.jpg", *raw])


def test_one_or_two_words_are_mostly_enough():
    encoded = [([name.encode(page) for name in folder], folder) for page, folders in ALL for folder in folders]
    right = [[name.decode(code_page(raw), "replace") for name in raw] == names for raw, names in encoded]
    assert sum(right) > 0.92 * len(right) > 100


@pytest.mark.parametrize(
    ("raw", "page"),
    [
        ([], "utf-8"),
        ([b"a.jpg"], "utf-8"),
        (["ü.jpg".encode(), b"a.jpg"], "utf-8"),
        (["ü.jpg".encode(), b"\x81.jpg"], "cp437"),
    ],
)
def test_utf8_is_told_from_code_pages(raw, page):
    assert code_page(raw) == page


class Raw(zipfile.ZipInfo):
    """An entry whose name is any bytes."""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.comment_name, self.flag_bits & ~0x800


def raw_zip(path, names, extra=None, system=3):
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            info = Raw(f"{number}")
            info.comment_name = name
            info.create_system = system
            info.extra = extra(name) if extra else b""
            archive.writestr(info, b"%d" % number)
    return path


Raw.__slots__ = ()


def raw_tar(path, names, form=tarfile.GNU_FORMAT, mode="w"):
    with tarfile.open(path, mode, format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = len(b"%d" % number)
            archive.addfile(info, io.BytesIO(b"%d" % number))
    return path


def names_in(folder):
    """The names of the files, in the order in which they were packed."""
    return sorted(under(folder), key=lambda name: int(under(folder)[name]))


@pytest.mark.parametrize(("page", "folders"), [*ALL, ("utf-8", [["ü.jpg"], ["हिन्दी.jpg"]])])
@pytest.mark.parametrize("make", [raw_zip, raw_tar])
def test_names_in_a_code_page_come_out_right(make, page, folders, tmp_path, folder):
    names = [name for names in folders for name in names]
    archive = make(tmp_path / "x", [b"first.jpg", *(name.encode(page) for name in names)])
    unpack(archive, folder, LIMITS)
    assert names_in(folder) == ["first.jpg", *names]


def test_the_form_of_unicode_is_kept(tmp_path, folder):
    """The Mac writes letters and accents apart."""
    names = [unicodedata.normalize(form, "Äpfel/é.jpg") for form in ("NFD", "NFC")]
    unpack(raw_zip(tmp_path / "x.zip", [name.encode() for name in names]), folder, LIMITS)
    assert names_in(folder) == names


def unicode_path(name, text="図/ü.jpg", version=1, checksum=None):
    field = struct.pack("<BI", version, zlib.crc32(name) if checksum is None else checksum) + text.encode()
    return struct.pack("<HH4s", 0x9999, 4, b"else") + struct.pack("<HH", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "図/ü.jpg"), ({"version": 2}, "ü.jpg"), ({"checksum": 1}, "ü.jpg"), ({"text": "../x"}, None)],
)
def test_the_field_for_unicode_names_is_honoured(options, expected, tmp_path, folder, request):
    archive = raw_zip(tmp_path / "x.zip", ["ü.jpg".encode("cp437")], lambda name: unicode_path(name, **options))
    if expected:
        unpack(archive, folder, LIMITS)
        assert names_in(folder) == [expected]
    else:
        assert "'../x' would lie outside" in request.getfixturevalue("refused")(archive)


def test_a_name_with_the_flag_for_utf8_is_not_guessed(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("Ž.jpg", b"0")
    unpack(tmp_path / "x.zip", folder, LIMITS)
    assert names_in(folder) == ["Ž.jpg"]


@pytest.mark.parametrize(
    ("names", "system", "expected"),
    [
        ([b"cat\\1.jpg", b"dog\\2.jpg"], 0, ["cat/1.jpg", "dog/2.jpg"]),
        ([b"cat\\1.jpg"], 3, ["cat\\1.jpg"]),
        ([b"cat/a\\1.jpg"], 0, ["cat/a\\1.jpg"]),
        (["表\\表.jpg".encode("cp932"), "ねこ\\2.jpg".encode("cp932")], 0, ["表/表.jpg", "ねこ/2.jpg"]),
    ],
)
def test_backslashes_of_windows_programs_are_folders(names, system, expected, tmp_path, folder):
    unpack(raw_zip(tmp_path / "x.zip", names, system=system), folder, LIMITS)
    assert names_in(folder) == expected


def test_names_of_a_tar_can_be_bytes_and_text(tmp_path, folder):
    names = ["図.jpg".encode(), "Möhre/1.jpg".encode("cp850"), "Kürbis/2.jpg".encode("cp850")]
    unpack(raw_tar(tmp_path / "x.tar.gz", names, mode="w:gz"), folder, LIMITS)
    assert names_in(folder) == ["図.jpg", "Möhre/1.jpg", "Kürbis/2.jpg"]


def test_a_hard_link_between_names_in_a_code_page(tmp_path, folder):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        first = tarfile.TarInfo(os.fsdecode("Möhre.jpg".encode("cp850")))
        archive.addfile(first)
        second = tarfile.TarInfo(os.fsdecode("Rübe.jpg".encode("cp850")))
        second.type, second.linkname = tarfile.LNKTYPE, first.name
        archive.addfile(second)
    unpack(tmp_path / "x.tar", folder, LIMITS)
    assert under(folder) == {"Möhre.jpg": b"", "Rübe.jpg": b""}


def test_a_word_that_happens_to_be_utf8_is_read_as_its_neighbours(tmp_path, folder):
    """These three letters make one of the Samaritan script."""
    unpack(raw_tar(tmp_path / "x.tar", [name.encode("cp866") for name in ("рак.jpg", "щука.jpg")]), folder, LIMITS)
    assert names_in(folder) == ["рак.jpg", "щука.jpg"]
