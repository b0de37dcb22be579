package gateway

import (
	"context"
	"io"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/tape"
)

// recording keeps what goes over a manager's port in a file of bounded size (docs/recording.md).
// Neither the port nor the gateway ever waits for it, and its failure is nobody else's. A mesh that
// is not recorded has none: nil.
type recording struct {
	file string
	m    *mesh
	tape *tape.Recorder
	link *link
}

func newRecording(file string, m *mesh) *recording {
	if file == "" {
		return nil
	}
	secret := map[byte]bool{}
	for _, c := range smartmesh.Commands() {
		secret[c.ID] = c.Secret
	}
	return &recording{file, m, tape.NewRecorder(func(command byte) bool { return secret[command] }),
		m.g.links.add("record", m.cfg.Name, file)}
}

// run writes until ctx ends.
func (r *recording) run(ctx context.Context) {
	supervise(ctx, r.m.log.With("record", r.file), nil, r.link.down, func(ctx context.Context, up func(...any)) error {
		return r.tape.Write(ctx, r.file, tape.Size, func() { r.link.up(""); up() })
	})
}

// tap gives the port as it is recorded.
func (r *recording) tap(port io.ReadWriteCloser) io.ReadWriteCloser {
	if r == nil {
		return port
	}
	return r.tape.Tap(port)
}
