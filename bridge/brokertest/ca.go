package brokertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates for tests.
type CA struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair is a certificate with its key, ready and as PEM files.
type Pair struct {
	tls.Certificate
	CertFile, KeyFile string
}

// NewCA returns an authority that is valid for a hundred years around now. Its files last as long as the test.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t, dir: t.TempDir()}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().AddDate(-50, 0, 0), NotAfter: time.Now().AddDate(50, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.key = ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &ca.key.PublicKey, ca.key)
	ca.check(err)
	ca.cert, err = x509.ParseCertificate(der)
	ca.check(err)
	ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

// File is the authority's certificate as a PEM file.
func (ca *CA) File() string { return filepath.Join(ca.dir, "ca.pem") }

// Pool holds the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// Issue signs a certificate for a host name or IP address, valid from one time to the other, good for servers and clients.
func (ca *CA) Issue(name string, from, to time.Time) Pair {
	ca.t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	key := ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	ca.check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	ca.check(err)
	p := Pair{CertFile: ca.write(name+".pem", "CERTIFICATE", der), KeyFile: ca.write(name+".key", "PRIVATE KEY", keyDER)}
	p.Certificate, err = tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	ca.check(err)
	return p
}

// Server returns what a broker with that name presents; with clients, it asks for a certificate of this authority.
func (ca *CA) Server(name string, clients bool) *tls.Config {
	ca.t.Helper()
	c := &tls.Config{Certificates: []tls.Certificate{ca.Issue(name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(10, 0, 0)).Certificate}}
	if clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	}
	return c
}

func (ca *CA) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ca.check(err)
	return key
}

func (ca *CA) write(name, kind string, der []byte) string {
	file := filepath.Join(ca.dir, name)
	ca.check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

func (ca *CA) check(err error) {
	ca.t.Helper()
	if err != nil {
		ca.t.Fatal(err)
	}
}
