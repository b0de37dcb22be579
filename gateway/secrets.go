package gateway

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/meshgate/meshgate/bridge"
)

// lookAtFiles is how often the files of passwords and certificates are looked at.
const lookAtFiles = time.Minute

// certificateDays are the days before its end at which a certificate is reported. From
// certificateUrgent days on, status shows it as something wrong.
var certificateDays = []int{30, 14, 7, 1}

const certificateUrgent = 7

// stampFiles tells the state of the files that a connection is made with; not ok when one is
// missing, as happens for a moment while it is replaced.
func (f *forward) stampFiles() (stamp string, ok bool) {
	var b strings.Builder
	for _, file := range []string{f.cfg.PasswordFile, f.cfg.TLS.CA, f.cfg.TLS.Cert, f.cfg.TLS.Key} {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return "", false
		}
		fmt.Fprintf(&b, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), true
}

// replaced ends the session when files that it was made with have been replaced and the new ones
// can be used: a key without its certificate is waited out.
func (f *forward) replaced(ctx context.Context, _ *bridge.Session) error {
	for sleep(ctx, lookAtFiles) {
		now, ok := f.stampFiles()
		if !ok || now == f.files {
			continue
		}
		if _, err := f.cfg.TLS.Config("", f.g.clock.now); err != nil {
			f.log.Debug("new certificate files cannot be used yet", "error", err)
			continue
		}
		return renewal("files of its password or certificates have been replaced")
	}
	return ctx.Err()
}

// certificates reports those of the session that end soon, now and each hour.
func (f *forward) certificates(ctx context.Context, s *bridge.Session) error {
	for {
		f.judgeCertificates(s.Certificates(), f.g.clock.now())
		if !sleep(ctx, time.Hour) {
			return ctx.Err()
		}
	}
}

// judgeCertificates logs each threshold of each certificate once, and shows the one that ends first.
func (f *forward) judgeCertificates(all []*x509.Certificate, now time.Time) {
	var first *x509.Certificate
	var text string
	for i, c := range all {
		whose := "our certificate"
		if i == 0 {
			whose = "the broker's certificate"
		}
		if first == nil || c.NotAfter.Before(first.NotAfter) {
			first = c
			text = fmt.Sprintf("%s (%s) ends on %s, in %d days", whose, c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly), days(c, now))
		}
		if at := threshold(days(c, now)); at != f.ending[c.SerialNumber.String()] {
			f.ending[c.SerialNumber.String()] = at
			if at > 0 {
				f.log.Warn(whose+" ends soon", "name", c.Subject.CommonName, "until", c.NotAfter.UTC().Format(time.RFC3339), "days", days(c, now))
			}
		}
	}
	note, wrong := "", ""
	if first != nil && threshold(days(first, now)) > 0 {
		note = text
		if days(first, now) <= certificateUrgent {
			note, wrong = "", text
		}
	}
	if first != nil {
		f.certEnd.Store(first.NotAfter.Unix())
	}
	f.state.remark(note)
	f.state.set(troubleCertificate, wrong)
}

func days(c *x509.Certificate, now time.Time) int { return int(c.NotAfter.Sub(now) / (24 * time.Hour)) }

// threshold gives the smallest of certificateDays that is not below so many days; 0: none.
func threshold(days int) (at int) {
	for _, d := range certificateDays {
		if days <= d {
			at = d
		}
	}
	return at
}

// health is what gateway/health says of the bridge.
func (f *forward) health() map[string]any {
	h := map[string]any{"sent": f.sent.Load(), "failures": f.failures.Load(), "waiting": f.reader.Waiting()}
	if end := f.certEnd.Load(); end != 0 {
		h["certificate_ends"] = stamp(time.Unix(end, 0))
	}
	return h
}
