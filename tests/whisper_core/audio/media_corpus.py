"""Good, bad and hostile media files, built with the real ffmpeg when a test asks for one."""

from __future__ import annotations

import random
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from whisper_core.audio.decode import find_ffmpeg

CANARY = "canary-8c1f-must-not-be-read"
TONE_SECONDS = 3.0
GOOD_FORMATS = ("wav", "mp3", "m4a", "flac", "ogg", "opus", "webm", "aac", "wma", "aiff", "amr", "ts", "mkv", "avi")


class MediaCorpus:
    """Files in `folder`, each built once. Every method gives the file's path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ffmpeg = find_ffmpeg()

    def tone(self, extension: str = "wav", seconds: float = TONE_SECONDS) -> Path:
        """A 440 Hz tone in the format of that extension."""
        rate = "8000" if extension == "amr" else "16000"
        source = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}:sample_rate=16000"]
        return self._build(f"tone-{seconds}.{extension}", [*source, "-ar", rate])

    def encoded(self, extension: str) -> Path:
        """A tone in a less usual format, at a rate that its codec has."""
        rate = {"3gp": "8000", "mxf": "48000", "ac3": "48000", "eac3": "48000", "dts": "48000"}
        codec = {"3gp": ["-c:a", "aac"], "mxf": ["-f", "mxf_opatom", "-c:a", "pcm_s16le"], "thd": ["-c:a", "truehd"]}
        channels = ["-ac", "2"] if extension in ("dts", "thd") else []
        tried = ["-ar", rate.get(extension, "44100"), *channels, "-strict", "-2", *codec.get(extension, [])]
        return self._build(f"other.{extension}", ["-i", str(self.tone()), *tried])

    def bilingual(self) -> Path:
        """A tone in English, and the default track: half of it in German."""
        short = ["-i", str(self.tone("wav", TONE_SECONDS / 2))]
        languages = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"]
        taken = ["-map", "0:a", "-map", "1:a", *languages, "-disposition:a:1", "default"]
        return self._build("bilingual.mka", ["-i", str(self.tone()), *short, *taken])

    def sbc(self, *options: str) -> Path:
        return self._build(f"sbc{''.join(options)}.sbc", ["-i", str(self.tone()), *options])

    def titled(self, title: str) -> Path:
        return self._build("titled.mka", ["-i", str(self.tone()), "-metadata", f"title={title}"])

    def long_film_with_short_sound(self) -> Path:
        pictures = ["-f", "lavfi", "-i", f"testsrc=duration={3 * TONE_SECONDS}:size=64x64:rate=5"]
        return self._build("long.mp4", [*pictures, "-i", str(self.tone())])

    def fast_start_mp4(self) -> Path:
        """Sound with its index at the start, so that a truncated file is readable in part."""
        return self._build("fast.m4a", ["-i", str(self.tone()), "-movflags", "faststart"])

    def video_with_sound(self) -> Path:
        pictures = ["-f", "lavfi", "-i", f"testsrc=duration={TONE_SECONDS}:size=64x64:rate=5"]
        return self._build("video.mp4", [*pictures, "-i", str(self.tone()), "-shortest"])

    def video_without_sound(self) -> Path:
        return self._build("silent-film.mp4", ["-f", "lavfi", "-i", "testsrc=duration=1:size=64x64:rate=5"])

    def image(self, extension: str = "png") -> Path:
        return self._build(f"image.{extension}", ["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1"])

    def silence(self, hours: float) -> Path:
        """Many hours of silence in a small flac (1 kHz: quick to build, and as long as any other when decoded)."""
        source = ["-f", "lavfi", "-i", "anullsrc=r=1000:cl=mono:nb_samples=16384", "-t", str(hours * 3600)]
        return self._build(f"silence-{hours}.flac", [*source, "-compression_level", "0"])

    def many_channels(self, channels: int = 255, rate: int = 384_000) -> Path:
        """A wav with an absurd number of channels and an absurd sample rate."""
        return self.write("channels.wav", wav_header(10**6, channels=channels, rate=rate) + bytes(10**6))

    def sparse_wav(self, hours: float) -> Path:
        """A wav that is as long as it claims, but is a sparse file on the disk."""
        size = min(int(hours * 3600) * 32000, 2**32 - 100)
        path = self.write("sparse.wav", wav_header(size))
        with open(path, "rb+") as file:
            file.truncate(44 + size)
        return path

    def lying_wav(self) -> Path:
        """A wav of one second that claims ten hours."""
        return self.write("liar.wav", wav_header(36_000 * 32_000) + bytes(32_000))

    def empty_wav(self) -> Path:
        return self.write("no-samples.wav", wav_header(0))

    def cut(self, whole: Path, percent: int) -> Path:
        data = whole.read_bytes()
        return self.write(f"cut-{percent}-{whole.name}", data[: len(data) * percent // 100])

    def random_bytes(self, size: int = 50_000, seed: int = 0, extension: str = "bin") -> Path:
        return self.write(f"random-{size}-{seed}.{extension}", random.Random(seed).randbytes(size))

    def text_named_mp3(self) -> Path:
        return self.write("notes.mp3", b"These are the minutes of the meeting.\n" * 200)

    def not_media(self) -> list[Path]:
        """Forty small files that are nothing to listen to, whatever they are called."""
        names = ("mp3", "wav", "m4a", "flac", "ogg", "webm", "bin")
        files = [self.random_bytes(100 * 7**size, seed, name) for size in range(4) for seed, name in enumerate(names)]
        starts = {
            "page.mp3": b"<!doctype html><title>x</title>" * 50,
            "paper.wav": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 50,
            "archive.m4a": b"PK\x03\x04" + bytes(500),
            "program.flac": b"\x7fELF\x02\x01\x01" + bytes(2000),
            "zeros.ogg": bytes(20_000),
            "one.webm": b"\0",
            "notes.wav": b"These are the minutes of the meeting.\n" * 200,
        }
        files += [self.write(name, data) for name, data in starts.items()]
        for extension in ("wav", "m4a", "flac", "webm", "wma"):
            data = self.tone(extension).read_bytes()
            files.append(self.write(f"header.{extension}", random.Random(extension).randbytes(64) + data[64:]))
        return files

    def many_streams(self, count: int) -> Path:
        """Silence so many times in one file."""
        source = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "0.2"]
        return self._build(f"streams-{count}.mkv", [*source, *["-map", "0"] * count, "-c", "pcm_s16le"])

    def many_chapters(self, count: int) -> Path:
        chapters = "".join(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={at}\nEND={at + 1}\ntitle=x\n" for at in range(count))
        described = self.write("chapters.txt", f";FFMETADATA1\n{chapters}".encode())
        metadata = ["-i", str(self.tone()), "-f", "ffmetadata", "-i", str(described), "-map_chapters", "1"]
        return self._build(f"chapters-{count}.mkv", metadata)

    def large_tag(self, size: int) -> Path:
        """An mp3 behind an ID3 tag with a picture of so many bytes."""
        content = b"APIC" + struct.pack(">I", size) + b"\0\0" + b"\0image/png\0\3\0" + bytes(size)
        length = bytes((len(content) >> shift) & 0x7F for shift in (21, 14, 7, 0))
        return self.write("tag.mp3", b"ID3\3\0\0" + length + content + self.tone("mp3").read_bytes())

    def mutated(self, seed: int) -> Path:
        """One of the good files, cut, with flipped bits, or with a part moved: the same for the same seed."""
        random_ = random.Random(seed)
        data = bytearray(self.tone(random_.choice(GOOD_FORMATS)).read_bytes())
        for _ in range(random_.choice((1, 8, 64))):
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        if random_.random() < 0.5:
            for _ in range(8):  # where the header is
                data[random_.randrange(min(512, len(data)))] = random_.randrange(256)
        if random_.random() < 0.3:
            del data[random_.randrange(len(data)) :]
        if random_.random() < 0.3:
            start = random_.randrange(len(data) or 1)
            data += data[start : start + 5000]
        return self.write(f"mutated-{seed}", bytes(data))

    def renamed(self, original: Path, extension: str) -> Path:
        return self.write(f"{original.stem}-renamed.{extension}", original.read_bytes())

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def hostile_playlists(self, canary_file: Path, canary_url: str) -> list[Path]:
        """Files that ask ffmpeg to open `canary_file` or `canary_url`, under their own and under neutral names."""
        texts = {
            "list.m3u8": _hls(canary_url),
            "file.m3u8": _hls(f"file://{canary_file}"),
            "concat-file.m3u8": _hls(f"concat:{canary_file}|{canary_file}"),
            "list.ffconcat": f"ffconcat version 1.0\nfile '{canary_file}'\n",
            "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
            "list.mpd": _dash(canary_url),
            "list.xspf": f"<playlist><trackList><location>{canary_url}</location></trackList></playlist>",
            "list.pls": f"[playlist]\nFile1={canary_url}\nNumberOfEntries=1\n",
            "picture-%d.png": CANARY,
        }
        paths = [self.write(name, text.encode()) for name, text in texts.items()]
        paths += [self.write(f"neutral-{number}", text.encode()) for number, text in enumerate(texts.values())]
        paths.append(self.write("subtitles.avi", _avi_with_playlist(_hls(canary_url).encode())))
        return paths

    def _build(self, name: str, arguments: list[str]) -> Path:
        path = self.folder / name
        if not path.exists():
            command = [str(self._ffmpeg), "-nostdin", "-v", "error", *arguments, "-y", str(path)]
            subprocess.run(command, check=True, timeout=120, stdin=subprocess.DEVNULL)
        return path


def wav_header(data_bytes: int, *, channels: int = 1, rate: int = 16000) -> bytes:
    """The 44 bytes before s16le samples."""
    frame = 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * frame & 0xFFFFFFFF, frame, 16)
    size = min(36 + data_bytes, 2**32 - 1)
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", data_bytes)


class CanaryServer:
    """An HTTP server that nothing should contact. requests: the paths that were requested nevertheless."""

    def __init__(self, url: str, requests: list[str]) -> None:
        self.url = url
        self.requests = requests


@contextmanager
def canary_server() -> Iterator[CanaryServer]:
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="canary")
    thread.start()
    try:
        yield CanaryServer(f"http://127.0.0.1:{server.server_port}/{CANARY}.ts", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fake_ffmpeg(folder: Path, script: str) -> Path:
    """A shell script that stands in for ffmpeg."""
    path = folder / "fake-ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _hls(address: str) -> str:
    return f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{address}\n#EXT-X-ENDLIST\n"


def _dash(address: str) -> str:
    representation = f'<Representation id="1" bandwidth="1"><BaseURL>{address}</BaseURL></Representation>'
    sets = f'<AdaptationSet mimeType="audio/mp4">{representation}</AdaptationSet>'
    attributes = 'xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT9S"'
    head = f'<?xml version="1.0"?><MPD {attributes}>'
    return f"{head}<Period>{sets}</Period></MPD>"


def _avi_with_playlist(playlist: bytes) -> bytes:
    """An AVI whose subtitle stream holds a playlist (the GAB2 way in, through a demuxer inside a demuxer)."""

    def box(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    name = "x\0".encode("utf-16-le")
    gab2 = b"GAB2\0" + struct.pack("<HI", 2, len(name)) + name + struct.pack("<HI", 4, len(playlist)) + playlist
    main = struct.pack("<14I", 40000, 0, 0, 0x10, 1, 0, 1, 0, 64, 64, 0, 0, 0, 0)
    stream = struct.pack("<4s4sIHHIIIIIIIIhhhh", b"txts", b"\0\0\0\0", 0, 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    header = box(b"avih", main) + box(b"LIST", b"strl" + box(b"strh", stream) + box(b"strf", b""))
    body = box(b"LIST", b"hdrl" + header) + box(b"LIST", b"movi" + box(b"00tx", gab2))
    return box(b"RIFF", b"AVI " + body)
