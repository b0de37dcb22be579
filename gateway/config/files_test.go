package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writePair writes ca.pem, NAME.pem and NAME.key, a certificate that signs itself.
func writePair(t testing.TB, dir, name string) (ca, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return write(t, dir, "ca.pem", text), write(t, dir, name+".pem", text),
		write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a")
	writePair(t, dir, "b")
	write(t, dir, "empty", "\n")
	write(t, dir, "text", "hello\n")
	write(t, dir, "pw", "secret\n")
	write(t, dir, "broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	write(t, dir, "locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	write(t, dir, "large", strings.Repeat("x", maxFile+1))
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each is part of a bridge in line 3, after "- {name: x, url: mqtts://h, ": column 29.
	tests := []struct{ text, want string }{
		{"username: u, password_file: none", "42: bridges[0].password_file: DIR/none: no such file or directory"},
		{"username: u, password_file: .", "42: bridges[0].password_file: DIR: not a file"},
		{"username: u, password_file: fifo", "42: bridges[0].password_file: DIR/fifo: not a file"},
		{"username: u, password_file: empty", "42: bridges[0].password_file: DIR/empty is empty"},
		{"username: u, password_file: large", "42: bridges[0].password_file: DIR/large: larger than 1 MiB"},
		{"password_file: pw", "29: bridges[0].password_file: a password without a username is not possible in MQTT 3.1.1"},
		{"username: u, password_file: $HOME/pw", `57: bridges[0].password_file: "$HOME/pw": neither ~ nor $ is expanded here; write the path out`},
		{"tls: {ca: none}", "35: bridges[0].tls.ca: DIR/none: no such file or directory"},
		{"tls: {ca: text}", "35: bridges[0].tls.ca: DIR/text: no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
		{"tls: {ca: broken.pem}", "35: bridges[0].tls.ca: DIR/broken.pem: certificate 1 does not parse: x509: malformed certificate"},
		{"tls: {ca: a.key}", `35: bridges[0].tls.ca: DIR/a.key: expected a certificate, found "EC PRIVATE KEY"`},
		{"tls: {cert: a.pem}", "35: bridges[0].tls.cert: cert needs its private key: key is missing"},
		{"tls: {key: a.key}", "35: bridges[0].tls.key: key needs its certificate: cert is missing"},
		{"tls: {cert: a.pem, key: b.key}", "48: bridges[0].tls.key: DIR/b.key does not fit DIR/a.pem: tls: private key does not match public key"},
		{"tls: {cert: a.pem, key: locked.key}", "48: bridges[0].tls.key: DIR/locked.key: the key is locked with a pass phrase; a daemon cannot ask for it"},
		{"tls: {server_name: 'a b'}", `48: bridges[0].tls.server_name: "a b" is neither the name of a host nor an address`},
		{"tls: {cert: a.pem, key: a.key, ca: b.pem}", ""},
		{"tls: {ca: '', cert: ''}", ""},
		{"username: u, password_file: " + filepath.Join(dir, "pw"), ""},
	}
	for _, tt := range tests {
		_, err := read(dir, minimal+"bridges:\n- {name: x, url: mqtts://h, "+tt.text+"}\n")
		got := ""
		if err != nil {
			got = strings.ReplaceAll(strings.TrimPrefix(err.Error(), "f.yaml:3:"), dir, "DIR")
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestLocalTLS(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a")
	for text, want := range map[string]string{
		"tls: {ca: ca.pem}":              "f.yaml:2:43: local.tls: ca and server_name have no meaning with listen; clients prove who they are with a password",
		"tls: {cert: ''}":                "f.yaml:2:43: local.tls: a broker needs a certificate: cert and key are missing",
		"tls: {cert: a.pem, key: none}":  "f.yaml:2:57: local.tls.key: DIR/none: no such file or directory",
		"tls: {cert: a.pem, key: a.key}": "",
	} {
		_, err := read(dir, minimal+"local: {listen: 'tcp://127.0.0.1:1', "+text+"}\n")
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
