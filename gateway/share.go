package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/meshgate/meshgate/gateway/config"
	"github.com/meshgate/meshgate/gateway/local"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/mux"
)

// share offers a manager's session to other programs, as a Serial Mux does (docs/sharing.md). It
// listens for as long as the gateway runs; who comes while there is no session is turned away at
// once, and all are let go when a session ends. A mesh that is not shared has none: nil.
type share struct {
	cfg     config.Share
	m       *mesh
	log     *slog.Logger
	link    *link
	allowed map[byte]bool // the commands that only read; nil: all are allowed
	users   atomic.Pointer[local.Users]
	server  atomic.Pointer[mux.Server] // of the session there is now
}

func newShare(cfg *config.Share, m *mesh) *share {
	if cfg == nil {
		return nil
	}
	sh := &share{cfg: *cfg, m: m, log: m.log.With("share", cfg.Listen), link: m.g.links.add("share", m.cfg.Name, cfg.Listen)}
	if !cfg.Write {
		sh.allowed = readers()
	}
	return sh
}

// readers are the commands that only read, and give no secret away.
func readers() map[byte]bool {
	all := map[byte]bool{}
	for _, c := range smartmesh.Commands() {
		if !c.Changes && !c.Dangerous && !c.Secret {
			all[c.ID] = true
		}
	}
	return all
}

// run listens until ctx ends.
func (sh *share) run(ctx context.Context) {
	supervise(ctx, sh.log, nil, sh.link.down, sh.once)
}

func (sh *share) once(ctx context.Context, up func(...any)) error {
	if sh.cfg.Users != "" {
		users, err := local.LoadUsers(sh.cfg.Users)
		if err != nil {
			return err
		}
		sh.users.Store(users)
	}
	l, err := sh.m.g.hw.listen(sh.cfg.Listen)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	sh.link.up("")
	up()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		server := sh.server.Load()
		if server == nil {
			sh.log.Info("a client of the shared port is turned away: the manager is not connected", "client", conn.RemoteAddr())
			conn.Close()
			continue
		}
		wg.Go(func() { server.Serve(conn) })
	}
}

// listen is where clients of a shared port come.
func (hw Hardware) listen(addr string) (net.Listener, error) {
	if hw.Listen != nil {
		return hw.Listen("tcp", addr)
	}
	return net.Listen("tcp", addr)
}

// begin lets clients use a session.
func (sh *share) begin(s *smartmesh.Session) {
	if sh == nil {
		return
	}
	opt := mux.ServerOptions{Do: s.Raw, Filter: uint32(wanted), UnackFilter: uint32(sh.m.unacked()),
		Info: sh.info(), Log: sh.log}
	if sh.allowed != nil {
		opt.Allow = func(command byte) bool { return sh.allowed[command] }
	}
	if sh.cfg.Users != "" {
		opt.Secret = sh.secret
	}
	sh.server.Store(mux.NewServer(opt))
}

// end lets all clients go: their session is over.
func (sh *share) end() {
	if sh == nil {
		return
	}
	if server := sh.server.Swap(nil); server != nil {
		server.Close()
	}
}

// info is what a client is told of the mux: the version of the program, as far as it is a number.
func (sh *share) info() mux.Info {
	var part [3]byte
	version := strings.TrimPrefix(sh.m.g.hw.Version, "v")
	for i, word := range strings.SplitN(version, ".", len(part)) {
		for _, r := range word {
			if r < '0' || r > '9' {
				break
			}
			part[i] = part[i]*10 + byte(r-'0')
		}
	}
	return mux.Info{Major: part[0], Minor: part[1], Release: part[2]}
}

// secret says whether the secret of a hello, less the zeros that fill it up, is the password of one
// of the users: a hello has no name.
func (sh *share) secret(secret [8]byte) bool {
	users := sh.users.Load()
	password := string(bytes.TrimRight(secret[:], "\x00"))
	if users == nil || password == "" {
		return false
	}
	for _, name := range users.Names() {
		if users.Verify(name, password) {
			return true
		}
	}
	return false
}

// heard takes every notification of a session, also of a type that nobody knows: it is for the
// gateway, and for the clients, each by its own subscription.
func (m *mesh) heard(n smartmesh.Notification) {
	m.notified(n)
	if m.share == nil {
		return
	}
	if server := m.share.server.Load(); server != nil {
		server.Notify(n.Raw)
	}
}

// unacked are the types that the gateway has unacknowledged.
func (m *mesh) unacked() smartmesh.Filter {
	if m.cfg.Data == config.DataUnacknowledged {
		return unackedWanted
	}
	return 0
}

// options are those of a session on the manager's port: a mux repeats by itself.
func (m *mesh) options() smartmesh.Options {
	opt := smartmesh.Options{OnNotify: m.heard, OnPass: m.passing, Refused: m.refuses, Log: m.log, Stats: &m.stats}
	if strings.HasPrefix(m.cfg.Port, "mux://") {
		opt.Patience = mux.Patience
	}
	return opt
}
