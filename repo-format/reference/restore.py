#!/usr/bin/env python3
"""Lists the recovery points of an Icecore repository and restores a disk, from the bytes and FORMAT.md alone.

An independent reader: it shares no line with the Rust code, uses no index and checks every signature, checksum and id on
its way. It is slow and meant to be read. Names and section titles are those of FORMAT.md.

    restore.py REPOSITORY --passphrase-file FILE list
    restore.py REPOSITORY --kit FILE restore POINT [--disk NAME] --to FILE
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

OPERATOR = bytes(16)
FAN_OUT = 128
HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class Damaged(Exception):
    """Bytes that are not what FORMAT.md says."""


def need(condition, what):
    if not condition:
        raise Damaged(what)


def derive(context, *material):
    return blake3(b"".join(material), derive_key_context=context).digest()


def open_sealed(key, counter, aad, sealed, what):
    """AES-256-GCM; the nonce is 4 zero bytes and the counter."""
    try:
        return AESGCM(key).decrypt(bytes(4) + struct.pack("<Q", counter), sealed, aad)
    except InvalidTag:
        raise Damaged(f"{what} does not decrypt") from None


# ---- Records


class Record:
    """A record at the start of `data`, its frame and checksum checked; `verify` checks the signature."""

    def __init__(self, data, magic, what):
        need(len(data) >= 144 and data[:8] == magic, f"{what} is no {magic.decode()} record")
        version, reserved, body_bytes = struct.unpack_from("<HHI", data, 8)
        need(version == 1 and reserved == 0, f"{what} has version {version}")
        need(body_bytes <= 16 << 20 and len(data) >= 144 + body_bytes, f"{what} is too short")
        self.what = what
        self.repository, self.signer = data[16:32], data[32:48]
        self.header, self.body = data[:48], data[48 : 48 + body_bytes]
        self.signature = data[48 + body_bytes : 112 + body_bytes]
        self.bytes = data[: 144 + body_bytes]
        self.rest = data[144 + body_bytes :]
        need(blake3(self.bytes[:-32]).digest() == self.bytes[-32:], f"{what}: its checksum does not fit")
        self.digest = blake3(self.header + self.body).digest()

    def verify(self, repository, signers):
        need(self.repository == repository, f"{self.what} belongs to another repository")
        check_signature(signers, self.signer, self.digest, self.signature, self.what)
        return self

    def json(self):
        need(not self.rest, f"{self.what}: bytes follow its end")
        return json.loads(self.body)


def check_signature(signers, signer, digest, signature, what):
    need(signer in signers, f"{what} is signed by {signer.hex()}, who may not")
    try:
        Ed25519PublicKey.from_public_bytes(signers[signer]).verify(signature, digest)
    except InvalidSignature:
        raise Damaged(f"{what}: its signature does not fit") from None


# ---- Packs


class Pack:
    """Header and footer of a pack, verified; entries are opened one by one."""

    def __init__(self, repository, path, magic):
        self.path, self.what = path, path.name
        data = path.read_bytes()
        need(blake3(data).hexdigest() == path.name, f"pack {path.name} does not have the hash that is its name")
        need(path.parent.name == path.name[:2], f"pack {path.name} lies in the wrong directory")
        need(len(data) >= 384 and data[:8] == magic, f"{self.what} is no {magic.decode()} pack")
        version, reserved, self.chunk_bytes = struct.unpack_from("<HHI", data, 8)
        need(version == 1 and reserved == 0 and not any(data[176:256]), f"{self.what} has version {version}")
        self.repository_id, self.writer, self.signer = data[16:32], data[32:48], data[48:64]
        self.salt, self.encapsulated, self.wrapped = data[64:96], data[96:128], data[128:176]
        need(self.repository_id == repository.id, f"{self.what} belongs to another repository")
        need(self.signer in (self.writer, OPERATOR), f"{self.what} is signed by another than its writer")
        self.read_footer(data, repository)
        self.key = self.frame = self.decoded = None

    def read_footer(self, data, repository):
        trailer = data[-128:]
        count, table_bytes, pack_bytes, reserved = struct.unpack_from("<IIQQ", trailer, 8)
        sound = trailer[:8] == b"ICEFOOT1" and reserved == 0 and count <= 65536 and table_bytes == 64 * count
        need(sound and pack_bytes == len(data) >= 384 + table_bytes, f"{self.what}: its trailer is impossible")
        table = data[-128 - table_bytes : -128]
        signed = data[:256] + table + trailer[:32]
        need(blake3(signed + trailer[32:96]).digest() == trailer[96:], f"{self.what}: its footer's checksum does not fit")
        repository.check_signature(self.signer, blake3(signed).digest(), trailer[32:96], self.what)
        self.rows, self.order, end, frame = {}, [], 256, None
        for number in range(count):
            id, offset, stored, plain, kind, hash = struct.unpack_from("<32sIIIB3x16s", table, 64 * number)
            need(offset == end and stored >= 16 and 0 < plain <= 1 << 20, f"{self.what}: row {number} is impossible")
            need(blake3(data[offset : offset + stored]).digest()[:16] == hash, f"{self.what}: entry {number} is damaged")
            need(id not in self.rows, f"{self.what}: an id stands twice")
            if kind == 2:
                need(frame, f"{self.what}: row {number} continues no frame")
                frame = (frame[0], frame[1] + 1, frame[2] + plain)
                need(frame[1] <= 16 and frame[2] <= 1 << 20, f"{self.what}: the frame of row {number} is too long")
            else:
                frame = (number, 1, plain) if kind == 1 else None
            self.rows[id] = (number, frame[0] if frame else number)
            self.order.append((id, offset, stored, plain, kind))
            end += stored
        need(end + table_bytes + 128 == len(data), f"{self.what}: its entries do not fill it")

    def entry(self, repository, id):
        """The plaintext of an entry; those before it in its frame are decoded on the way."""
        number, first = self.rows[id]
        if self.key is None:
            self.key = repository.pack_key(self)
        if self.decoded is None or not first <= self.decoded < number:
            self.frame, self.decoded = None, first - 1
        for number in range(self.decoded + 1, number + 1):
            plain = self.decode(number)
        return plain

    def decode(self, number):
        id, offset, stored, plain_bytes, kind = self.order[number]
        with open(self.path, "rb") as file:
            file.seek(offset)
            sealed = file.read(stored)
        aad = self.repository_id + self.salt + struct.pack("<IIIB", number, plain_bytes, stored, kind) + id
        payload = open_sealed(self.key, number, aad, sealed, f"entry {number} of {self.what}")
        need(kind in (0, 1, 2), f"entry {number} of {self.what} has the unknown kind {kind}")
        if kind == 1:
            self.frame = zstandard.ZstdDecompressor(max_window_size=1 << 20).decompressobj()
        if kind != 0:
            payload = self.frame.decompress(payload)
        need(len(payload) == plain_bytes, f"entry {number} of {self.what} has another length")
        self.decoded = number
        return payload


# ---- The repository


class Repository:
    def __init__(self, root, access):
        self.root = Path(root)
        self.complained = set()
        record = self.read_config()
        self.config = record.json()
        need(not self.config["incompatible"], f"unknown features {self.config['incompatible']}")
        self.id = bytes.fromhex(self.config["repository"])
        self.signers = {OPERATOR: bytes.fromhex(self.config["operator_key"])}
        record.verify(self.id, self.signers)
        self.master = self.unlock(access)
        operator = Ed25519PrivateKey.from_private_bytes(derive("icecore v1 operator signing key", self.master))
        self.private = X25519PrivateKey.from_private_bytes(derive("icecore v1 private key", self.master))
        need(operator.public_key().public_bytes_raw() == self.signers[OPERATOR], "config names another operator key")
        public = self.private.public_key().public_bytes_raw().hex()
        need(public == self.config["public_key"], "config names another public key")
        id_key = derive("icecore v1 id key", self.master)
        self.chunk_key, self.node_key, self.name_key = (
            derive(f"icecore v1 {what} id", id_key) for what in ("chunk", "node", "name")
        )
        for path in sorted((self.root / "writers").iterdir()):
            try:
                writer = self.record(path, b"ICEWRIT1").json()
            except Damaged as damage:
                self.complain(str(damage))
                continue
            self.signers[bytes.fromhex(writer["writer"])] = bytes.fromhex(writer["verify_key"])

    def read_config(self):
        """The configuration, from its copy when the object itself is damaged or missing."""
        try:
            return Record((self.root / "config").read_bytes(), b"ICECONF1", "config")
        except (Damaged, FileNotFoundError) as damage:
            self.complain(f"{damage}; its copy is read instead")
            return Record((self.root / "config-copy").read_bytes(), b"ICECONF1", "config-copy")

    def complain(self, what):
        if what not in self.complained:
            self.complained.add(what)
            print(f"warning: {what}", file=sys.stderr)

    def check_signature(self, signer, digest, signature, what):
        """A signer without a sound record is unverified: what it signed is proved by its seal and its ids, and that is said."""
        if signer not in self.signers:
            return self.complain(f"there is no sound record of writer {signer.hex()}: its signatures are not verified")
        check_signature(self.signers, signer, digest, signature, what)

    def record(self, path, magic):
        """A record that the operator alone may sign."""
        signers = {OPERATOR: self.signers[OPERATOR]}
        return Record(path.read_bytes(), magic, str(path.relative_to(self.root))).verify(self.id, signers)

    def writers_record(self, data, magic, what):
        record = Record(data, magic, what)
        need(record.repository == self.id, f"{what} belongs to another repository")
        self.check_signature(record.signer, record.digest, record.signature, what)
        return record

    def unlock(self, access):
        """The master secret, from a recovery kit or the first key slot that opens."""
        if access.kit:
            return self.read_kit(Path(access.kit).read_text())
        for path in sorted((self.root / "keys").iterdir()):
            slot = self.record(path, b"ICEKEYS1").json()
            salt = bytes.fromhex(slot["salt"])
            if slot["kind"] == "passphrase" and access.passphrase_file:
                passphrase = Path(access.passphrase_file).read_bytes().split(b"\n")[0]
                cost = {"iterations": slot["passes"], "lanes": slot["lanes"], "memory_cost": slot["memory_kib"]}
                key = Argon2id(salt=salt, length=32, **cost).derive(passphrase)
            elif slot["kind"] == "key_file" and access.key_file:
                key = derive("icecore v1 key file", Path(access.key_file).read_bytes()[:32], salt)
            else:
                continue
            try:
                aad = self.id + bytes.fromhex(slot["slot"])
                return open_sealed(key, 0, aad, bytes.fromhex(slot["sealed"]), "the slot")
            except Damaged:
                continue
        raise Damaged("the passphrase or key file opens no key slot")

    def read_kit(self, text):
        def field(name):
            lines = [line.strip().lower() for line in text.splitlines()]
            joined = "".join(line[len(name) :] for line in lines if line.startswith(name))
            return bytes.fromhex("".join(joined.split()).replace("-", ""))

        repository, secret = field("repository:"), field("secret:")
        check = derive("icecore v1 recovery kit check", repository, secret[:32])[:3]
        need(len(secret) == 35 and secret[32:] == check, "the kit's check digits do not fit")
        need(repository == self.id, "the kit belongs to another repository")
        return secret[:32]

    def map_key(self, writer):
        return derive("icecore v1 map key", self.master, writer)

    def pack_key(self, pack):
        if pack.chunk_bytes == 0:
            return derive("icecore v1 tree pack", self.map_key(pack.writer), self.id, pack.salt)
        info = b"icecore v1 data pack" + self.id + pack.salt
        try:
            return HPKE.decrypt(pack.encapsulated + pack.wrapped, self.private, info=info)
        except InvalidTag:
            raise Damaged(f"{pack.what}: its key does not open") from None

    def points(self):
        """Every point: (path, manifest, receipt), in order of name and sequence."""
        for path in sorted((self.root / "manifests").glob("*/*")):
            yield self.point(path)

    def point(self, path):
        record = self.writers_record(path.read_bytes(), b"ICEMANI1", str(path.relative_to(self.root)))
        receipt = self.writers_record(record.rest, b"ICERCPT1", f"receipt of {path.name}").json()
        sequence, id = path.name.split("-")
        need(blake3(record.bytes).hexdigest() == id == receipt["manifest"], f"{record.what} has another id")
        need(receipt["sequence"] == int(sequence, 16), f"{record.what} stands in another place")
        body = record.body
        name_id, salt = body[:16], body[48:80]
        key = derive("icecore v1 manifest", self.map_key(record.signer), self.id, salt)
        manifest = json.loads(open_sealed(key, 0, record.header + body[:80], body[80:], record.what))
        named = blake3(manifest["name"].encode(), key=self.name_key).digest()[:16]
        need(named == name_id == bytes.fromhex(path.parent.name), f"{record.what} stands under another name")
        return path, manifest, receipt

    def forgotten(self, manifest_id):
        path = self.root / "tombstones" / manifest_id
        return path.exists() and self.record(path, b"ICETOMB1").json()["manifest"] == manifest_id

    def entries(self, prefix, magic):
        """id → packs that hold it; the place of the index that this reader does without."""
        found = {}
        for path in sorted((self.root / prefix).glob("*/*")):
            pack = Pack(self, path, magic)
            for id in pack.rows:
                found.setdefault(id, []).append(pack)
        return found


def read_by_id(repository, packs, id, id_key):
    """The entry from the first pack whose bytes have the id."""
    for pack in packs.get(id, []):
        plain = pack.entry(repository, id)
        if blake3(plain, key=id_key).digest() == id:
            return plain
    raise Damaged(f"{id.hex()} lies in no sound pack")


def chunks_of(repository, trees, root, level, start):
    """Yields (position, chunk id) below a node; holes are left out."""
    node = read_by_id(repository, trees, root, repository.node_key)
    magic, version, found_level, count = struct.unpack_from("<4sBBH", node)
    bitmap = int.from_bytes(node[8:24], "little")
    sound = (magic, version, found_level) == (b"NODE", 1, level) and count == bitmap.bit_count() > 0
    need(sound and len(node) == 24 + 32 * count, f"node {root.hex()} is impossible")
    children = (node[24 + 32 * i : 56 + 32 * i] for i in range(count))
    for slot in (slot for slot in range(FAN_OUT) if bitmap >> slot & 1):
        position, child = start + slot * FAN_OUT**level, next(children)
        if level == 0:
            yield position, child
        else:
            yield from chunks_of(repository, trees, child, level - 1, position)


def restore(repository, manifest, disk, target):
    chunk_bytes, size = manifest["chunk_bytes"], disk["size_bytes"]
    chunks = -(-size // chunk_bytes)
    level = next(level for level in range(9) if chunks <= FAN_OUT ** (level + 1))
    with open(target, "xb") as out:
        out.truncate(size)  # a new file: what is not written reads as zero
        if disk["root"] is None:
            return
        trees, data = repository.entries("tree", b"ICETREE1"), repository.entries("data", b"ICEDATA1")
        for position, id in chunks_of(repository, trees, bytes.fromhex(disk["root"]), level, 0):
            plain = read_by_id(repository, data, id, repository.chunk_key)
            offset = position * chunk_bytes
            need(len(plain) == min(chunk_bytes, size - offset), f"chunk {position} has another length")
            out.seek(offset)
            out.write(plain)


def find(repository, wanted):
    found = [point for point in repository.points() if point[2]["manifest"].startswith(wanted)]
    need(len(found) == 1, f"{len(found)} points have an id that begins with {wanted!r}")
    return found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    secret = parser.add_mutually_exclusive_group(required=True)
    for option in ("--passphrase-file", "--key-file", "--kit"):
        secret.add_argument(option, metavar="FILE")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    verb = verbs.add_parser("restore")
    verb.add_argument("point", help="id of a point, or its first digits")
    verb.add_argument("--disk", help="name of the disk, where there are several")
    verb.add_argument("--to", required=True, metavar="FILE", help="a file that does not exist yet")
    options = parser.parse_args()
    try:
        repository = Repository(options.repository, options)
        if options.verb == "list":
            for _, manifest, receipt in repository.points():
                state = "forgotten" if repository.forgotten(receipt["manifest"]) else "live"
                disks = " ".join(f"{disk['name']}:{disk['size_bytes']}" for disk in manifest["disks"])
                print(receipt["manifest"], receipt["sequence"], manifest["kind"], state, manifest["name"], disks)
            return
        _, manifest, _ = find(repository, options.point)
        disks = [disk for disk in manifest["disks"] if options.disk in (None, disk["name"])]
        need(len(disks) == 1, f"{len(disks)} disks fit; name one with --disk")
        restore(repository, manifest, disks[0], options.to)
    except (Damaged, OSError, KeyError, ValueError, zstandard.ZstdError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
