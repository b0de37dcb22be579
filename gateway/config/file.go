package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/meshgate/meshgate/bridge"
)

// read returns the content of the file that a key names, with its path; what is wrong with
// it is noted at the key. ok is false when there is no such key either.
func (o object) read(key string) (path string, data []byte, ok bool) {
	path = o.file(key)
	if path == "" {
		return "", nil, false
	}
	v := o.at[key]
	data, err := readFile(path)
	if err != nil {
		v.failKey("%s: %s", path, reason(err))
		return path, nil, false
	}
	return path, data, true
}

// readFile reads a small regular file. It does not open a FIFO or a device, which could block.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errTooLarge
	}
	return data, err
}

var (
	errNoFile   = errors.New("not a file")
	errTooLarge = errors.New("larger than 1 MiB")
)

// reason is the error without the path, which the message has already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, syscall.EACCES) {
		return "permission denied for the user that runs this"
	}
	return err.Error()
}

// readable reads the value of a key as the path of a file that can be read.
func (o object) readable(key string) string {
	path, _, ok := o.read(key)
	if !ok {
		return ""
	}
	return path
}

// passwordFile reads the key password_file. The password is the content of the file without
// one newline at its end.
func (o object) passwordFile(username string) string {
	path, data, ok := o.read("password_file")
	if !ok {
		return ""
	}
	v := o.at["password_file"]
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	switch {
	case len(data) == 0:
		v.failKey("%s is empty", path)
	case len(data) > 65535:
		v.failKey("%s: a password of more than 65535 bytes does not fit into MQTT", path)
	case username == "":
		v.failKey("a password without a username is not possible in MQTT 3.1.1")
	}
	return path
}

// tls reads the key tls. A server needs a certificate of its own.
func (d *decoder) tls(o object, server bool) bridge.TLS {
	if !o.has("tls") {
		return bridge.TLS{}
	}
	before := d.mistakes
	t := d.section(o, "tls", "ca", "cert", "key", "server_name")
	var out bridge.TLS
	var ca, cert, key []byte
	var caOK, certOK, keyOK bool
	out.CA, ca, caOK = t.read("ca")
	out.Cert, cert, certOK = t.read("cert")
	out.Key, key, keyOK = t.read("key")
	out.ServerName = t.text("server_name", "")
	if out.ServerName != "" && !validHost(out.ServerName) {
		t.at["server_name"].fail("%q is neither the name of a host nor an address", clip(out.ServerName))
	}
	if caOK {
		t.certificates("ca", out.CA, ca)
	}
	if certOK && t.certificates("cert", out.Cert, cert) && keyOK {
		t.pair(out, cert, key)
	}
	if d.mistakes > before {
		return out
	}
	switch {
	case out.Cert != "" && out.Key == "":
		t.at["cert"].failKey("cert needs its private key: key is missing")
	case out.Key != "" && out.Cert == "":
		t.at["key"].failKey("key needs its certificate: cert is missing")
	case server && (out.CA != "" || out.ServerName != ""):
		t.fail("ca and server_name have no meaning with listen; clients prove who they are with a password")
	case server && out.Cert == "":
		t.fail("a broker needs a certificate: cert and key are missing")
	}
	return out
}

// certificates reports whether every PEM block of a file is a certificate, and there is one.
func (o object) certificates(key, path string, data []byte) bool {
	v, n := o.at[key], 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			if key == "cert" && n > 0 {
				continue // certificate and key in one file
			}
			v.failKey("%s: expected a certificate, found %q", path, clip(block.Type))
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			v.failKey("%s: certificate %d does not parse: %v", path, n+1, err)
			return false
		}
	}
	if n == 0 {
		v.failKey("%s: no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path)
	}
	return n > 0
}

// pair notes when the private key is none or is that of another certificate.
func (o object) pair(files bridge.TLS, cert, key []byte) {
	if block, _ := pem.Decode(key); block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "") {
		o.at["key"].failKey("%s: the key is locked with a pass phrase; a daemon cannot ask for it", files.Key)
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		o.at["key"].failKey("%s does not fit %s: %v", files.Key, files.Cert, err)
	}
}
