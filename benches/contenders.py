"""The gateways and archives that are compared, each in a folder of its own, as shipped but for ports and paths."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from processes import ENVIRONMENT, Server, free_port

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
# Orthanc sends a study on once nothing has been added to it for StableAge seconds.
STABLE = """function OnStableStudy(study, tags, metadata)
 RestApiPost('/dicom-web/servers/b/stow', '{"Resources":["' .. study .. '"],"Synchronous":false}')
end
"""
NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err warn;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
 uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
 server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {certs}/b.crt; ssl_certificate_key {certs}/b.key;
  ssl_client_certificate {certs}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; client_max_body_size 0; keepalive_requests 100000;
  proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1; proxy_read_timeout 600s;
  location / {{ proxy_pass http://127.0.0.1:{http}; proxy_set_header Host $host:{tls}; }} }} }}
"""


DCMQRSCP = """NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{called} {area} RW ({most}, 1024mb) ANY
AETable END
"""


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def make_certificates(folder):
    """An authority and the identities of sites a and b, by openssl, valid for a month."""
    if (folder / "b.crt").exists():
        return folder
    fresh(folder)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "31", "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("a", "b"):
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "names").write_text(f"subjectAltName=DNS:{name}.weybridge.test,DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "31", "-extfile", "names", "-out", f"{name}.crt")
    return folder


class StoreScp:
    """DCMTK's storescp, writing what it gets bit for bit: it neither hashes nor syncs."""

    called = "OUT"

    def __init__(self, folder):
        self.folder, self.port = fresh(folder), free_port()
        command = ["storescp", "--fork", "+B", "+xa", "-pdu", "131072", "-od", str(self.folder), str(self.port)]
        self.servers = [Server(command, [self.port], f"{folder}.log")]

    def held(self):
        return sum(1 for _ in self.folder.iterdir())

    def stop(self):
        self.servers[0].stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class DcmQrScp:
    """DCMTK's dcmqrscp, an archive whose index is one file, read from end to end for each search."""

    called = "DCMQRSCP"
    # Its index has room for so many studies whatever is configured (DB_UpperMaxStudies): a further one drives the
    # oldest out, and it does not outlive many of those. What several associations store at a time it partly loses.
    most, associations = 500, 1

    def __init__(self, folder):
        self.folder, self.area, self.port = fresh(folder), fresh(folder / "area"), free_port()
        settings = DCMQRSCP.format(port=self.port, called=self.called, area=self.area, most=self.most)
        (folder / "dcmqrscp.cfg").write_text(settings)
        command = ["dcmqrscp", "-c", str(folder / "dcmqrscp.cfg"), str(self.port)]
        self.servers = [Server(command, [self.port], folder / "log")]

    def held(self):
        return sum(1 for _ in self.area.glob("*.dcm"))

    def stop(self):
        self.servers[0].stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Orthanc:
    """Debian's Orthanc with default settings; with `tls`, behind nginx that asks for a certificate."""

    called = "ORTHANC"
    most, associations = None, 4  # studies that it can hold, and associations on which it is filled
    way = "/dicom-web/servers/b/stow"  # or by its own protocol, an instance a request: "/peers/b/store"

    def __init__(self, folder, certs=None, tls=False, peer=None, out=None, stable=False):
        self.folder, self.port, self.http, self.certs = fresh(folder), free_port(), free_port(), certs
        settings = {
            "StorageDirectory": f"{folder}/db", "IndexDirectory": f"{folder}/db", "DicomPort": self.port,
            "HttpPort": self.http, "DicomAet": self.called, "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "Plugins": [PLUGIN],
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "HttpTimeout": 600,
        }  # fmt: skip
        if peer:
            settings["HttpsCACertificates"] = f"{certs}/ca.pem"
            b = {"Url": peer, "CertificateFile": f"{certs}/a.crt", "CertificateKeyFile": f"{certs}/a.key"}
            settings["DicomWeb"] = {"Enable": True, "Root": "/dicom-web/", "Servers": {"b": b}}
            settings["OrthancPeers"] = {"b": {**b, "Url": peer.removesuffix("dicom-web/")}}
        if out:
            settings["DicomModalities"] = {"OUT": [out.called, "127.0.0.1", out.port]}
        if stable:
            (folder / "stable.lua").write_text(STABLE)
            settings |= {"LuaScripts": [str(folder / "stable.lua")], "StableAge": 1, "JobsHistorySize": 10000}
        (folder / "orthanc.json").write_text(json.dumps(settings))
        command = ["/usr/sbin/Orthanc", str(folder / "orthanc.json")]
        self.servers = [Server(command, [self.port, self.http], folder / "log")]
        if tls:
            self.tls = free_port()
            text = NGINX.format(folder=folder, tls=self.tls, http=self.http, certs=certs)
            (folder / "nginx.conf").write_text(text)
            nginx = ["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "err")]
            self.servers.append(Server(nginx, [self.tls], folder / "nginx.log"))
            self.url = f"https://localhost:{self.tls}/dicom-web/"

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", data, timeout=900) as answer:
            return json.loads(answer.read())

    def held(self):
        return self.call("/statistics")["CountInstances"]

    def forward(self, _data):
        """All studies to its peer; returns the seconds it took."""
        start = time.monotonic()
        self.call(self.way, {"Resources": self.call("/studies"), "Synchronous": True})
        return time.monotonic() - start

    def arrived(self, b, data):
        """Seconds until site b counts everything."""
        start = time.monotonic()
        while b.held() != len(data.files):
            if time.monotonic() > start + 600:
                raise RuntimeError(f"b holds {b.held()} of {len(data.files)} after 600 s")
            time.sleep(0.05)
        return time.monotonic() - start

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Weybridge:
    """This project, with its defaults. With `peer` (a URL), everything received is owed to site b there, if `routed`.

    `settings` are further tables of its configuration.
    """

    called, token = "WB_BENCH", "bench" * 8
    most, associations = None, 32  # how many commits it puts together depends on those

    def __init__(self, folder, binary, certs, name="a", peer=None, start=True, out=None, alone=False, routed=True, settings=""):
        self.folder, self.binary, self.name, self.certs = fresh(folder), Path(binary).resolve(), name, certs
        self.port, self.web, self.viewer = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.web}/dicom-web"
        other = "b" if name == "a" else "a"
        address = peer or "https://127.0.0.1:1/dicom-web"
        may = 'may = ["store", "find", "move"]\nforeign = "as_is"\nmove_to = ["OUT"]' if out else 'may = ["store"]'
        nodes = "".join(
            f'[[node]]\nae_title = "{title}"\nfrom_addresses = ["127.0.0.0/8"]\n{may}\n\n'
            for title in ("STORESCU", "BENCH")
        )
        if out:
            nodes += f'[[node]]\nae_title = "OUT"\naddress = "127.0.0.1:{out.port}"\nmay = ["receive"]\n'
            nodes += 'from_addresses = []\n\n'
            nodes += f'[viewer]\nlisten = "127.0.0.1:{self.viewer}"\ntoken_file = "token"\nnode = "BENCH"\n\n'
            (folder / "token").write_text(self.token + "\n")
            (folder / "token").chmod(0o600)
        sites = "" if alone else (
            f'[[peer]]\nname = "{other}"\nurl = "{address}"\nidentity = "{other}.weybridge.test"\n'
            f'may = ["store", "query", "retrieve"]\nverify = "present"\n\n'
        )
        route = f'[[route]]\nname = "all"\nto = ["{other}"]\n' if peer and routed else ""
        (folder / "weybridge.toml").write_text(
            f'[site]\nname = "{name}"\nods_code = "ZZ001"\ndata_dir = "data"\n\n'
            f'[dicom]\nae_title = "{self.called}"\nlisten = "127.0.0.1:{self.port}"\n\n'
            f'[web]\nlisten = "127.0.0.1:{self.web}"\n\n'
            f'[tls]\ncertificate = "{certs}/{name}.crt"\nkey = "{certs}/{name}.key"\ntrust = "{certs}/ca.pem"\n\n'
            f"{nodes}{sites}{route}{settings}"
        )
        self.servers = []
        if start:
            self.start()

    def start(self):
        command = [str(self.binary), "--config", str(self.folder / "weybridge.toml"), "serve"]
        self.servers = [Server(command, [self.port, self.web], self.folder / "log", cwd=self.folder)]

    def cli(self, *arguments):
        command = [str(self.binary), "--config", str(self.folder / "weybridge.toml"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
        return done.stdout

    def held(self):
        return json.loads(self.cli("status", "--json"))["instances"]

    def transfers(self, field):
        lines = [json.loads(line) for line in self.cli("transfers", "list", "--json").splitlines()]
        return sum(line["instances"] for line in lines), sum(line[field] for line in lines)

    def forward(self, data):
        """What is owed to b is retried now; returns the seconds until all of it is verified."""
        start = time.monotonic()
        self.cli("transfers", "retry", "--to", "b")
        return time.monotonic() - start + self.arrived(None, data)

    def arrived(self, _b, data):
        """Seconds until everything is verified at b, by what this site knows."""
        start = time.monotonic()
        while self.transfers("verified") != (len(data.files), len(data.files)):
            if time.monotonic() > start + 600:
                raise RuntimeError(f"not verified after 600 s: {self.cli('transfers', 'list')}")
            time.sleep(0.05)
        return time.monotonic() - start

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
