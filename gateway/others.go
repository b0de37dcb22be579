package gateway

import (
	"bytes"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// passing looks at what others have the manager do in the gateway's session, before it is sent: the clients of the shared
// port, and who calls a command by its name. A mote that they ask over OAP will answer where the gateway listens too, and
// an LED that they set is not what it was.
func (m *mesh) passing(command byte, payload []byte) {
	d, ok := smartmesh.SendDataIn(command, payload)
	if !ok || d.DstPort != oap.Port {
		return
	}
	m.oap.stranger(d.MAC)
	if r, err := oap.ParseRequest(d.Data); err != nil || r.Command != oap.Put || !bytes.Equal(r.Address, oap.LED) {
		return
	}
	for _, mo := range m.motes.snapshot() {
		if mo.mac == d.MAC || d.MAC == smartmesh.Broadcast {
			m.overrule(mo.mac)
			m.forgetLED(mo.mac)
		}
	}
}

// stranger notes that somebody else asks a mote, or all of them.
func (q *requester) stranger(mac smartmesh.MAC) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.strangers[mac] = time.Now()
}

// strange says whether an answer of a mote may be one to somebody else. Most others number all their requests 0, so that
// for as long 0 is not used, and an answer with it does not show what kind of mote it is. The caller has mu.
func (q *requester) strange(mac smartmesh.MAC) bool {
	const lasts = leaveTimeout + oapTimeout
	return time.Since(q.strangers[mac]) < lasts || time.Since(q.strangers[smartmesh.Broadcast]) < lasts
}
