#!/usr/bin/python3
"""Makes of a capture of make.sh one small enough to keep.

    trim.py IN.pcap OUT.pcap.gz [FLOWS]

Of every flow the first 12 packets stay, and of every service and kind of answer
the first FLOWS (5). Ethernet and IPv4 only.
"""
import collections, gzip, struct, sys

PACKETS, FLOWS = 12, int((sys.argv + ["5"])[3])

def flow(frame):
    if frame[12:14] != b"\x08\x00":
        return None
    header, proto = (frame[14] & 15) * 4, frame[23]
    ports = struct.unpack("!HH", frame[14 + header:18 + header]) if proto in (6, 17) else (0, 0)
    ends = sorted([(frame[26:30], ports[0]), (frame[30:34], ports[1])])
    return proto, tuple(ends), min(ports)

data = open(sys.argv[1], "rb").read()
out, at = [data[:24]], 24
flows, services = collections.Counter(), collections.defaultdict(set)
while at + 16 <= len(data):
    size = struct.unpack("<I", data[at + 8:at + 12])[0]
    record, frame = data[at:at + 16 + size], data[at + 16:at + 16 + size]
    at += 16 + size
    key = flow(frame)
    if key is None:
        continue
    service = services[key[0], key[2]]
    if key not in service and len(service) >= FLOWS or flows[key] >= PACKETS:
        continue
    service.add(key)
    flows[key] += 1
    out.append(record)
with gzip.GzipFile(sys.argv[2], "wb", 9, mtime=0) as f:
    f.write(b"".join(out))
