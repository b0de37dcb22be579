package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/meshgate/meshgate/bridge"
)

// served is the certificate that the broker inside shows. Replaced files are taken up, for the
// connections that come from then on.
type served struct {
	files  bridge.TLS
	mark   string // of the files that now is made of
	failed int    // attempts to use newer ones
	now    atomic.Pointer[tls.Certificate]
}

// serve reads the files; nil when there are none.
func serve(files bridge.TLS) (*served, error) {
	if files.Cert == "" {
		return nil, nil
	}
	s := &served{files: files}
	if err := s.load(s.marks()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *served) marks() string { return fileMark(s.files.Cert) + " " + fileMark(s.files.Key) }

func (s *served) load(mark string) error {
	pair, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
	if err != nil {
		return fmt.Errorf("gateway: local: certificate: %w", err)
	}
	s.mark, s.failed = mark, 0
	s.now.Store(&pair)
	return nil
}

// config is nil for a broker that speaks in the clear.
func (s *served) config() *tls.Config {
	if s == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.now.Load(), nil }}
}

// reread is called each second. A certificate and its key are replaced one after the other: only
// what cannot be used for a while is told, once.
func (s *served) reread(log *slog.Logger) {
	if s == nil {
		return
	}
	mark := s.marks()
	if mark == s.mark {
		return
	}
	if err := s.load(mark); err != nil {
		if s.failed++; s.failed == 10 {
			log.Error("the new certificate of the local broker cannot be used, the old one stays", "error", err)
		}
		return
	}
	log.Info("the certificate of the local broker has been read again")
}
