// Package sim is a SmartMesh IP manager with motes, spoken to over the same bytes as the real one.
//
//	client                                                   Manager
//	       <-- 7E 00 03 00 02  04 00 ...            MgrHello, every 1.5 s while there is no session
//	       --> 7E 00 01 00 03  04 cli 00 ...        Hello: a new session, nothing subscribed
//	       <-- 7E 00 02 00 05  00 04 mgr cli 00 ... HelloResponse
//	       --> 7E 02 id seq n  request ...          seq is cli+1, then one more for each new request
//	       <-- 7E 03 id seq n  RC fields ...        a repeated request gets the stored answer again
//	       <-- 7E 02 14 seq n  notification ...     reliable: one at a time, again every 500 ms,
//	       --> 7E 03 14 seq 1  00 ...               until acknowledged; after six times the session is dropped
//	       <-- 7E 00 14 any n  notification ...     unacknowledged
//
// The motes have the factory application: they publish temperature (and, when enabled, analog and digital inputs)
// as OAP on UDP port 0xF0B9, take GET and PUT, and send health reports. Mote 1 is the access point.
//
// The package is written from the protocol's description and shares no code with the client, only the frames of
// package hdlc, so that client and simulator check each other. It records what a client does wrong
// (Stats.Violations) and can disturb the line and the mesh on request (Faults, Reboot, Silence, ...).
//
// Where the description leaves the manager's behaviour open, the choice is made here and said at the constant or
// the function concerned. All waiting goes through package time, so it runs in a testing/synctest bubble.
package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrRunning is returned by a second Run.
var ErrRunning = errors.New("sim: already running")

// Config says what is simulated.
type Config struct {
	Motes        int           // motes besides the access point
	Period       time.Duration // between temperature samples of one mote; 0 is 30 s, as from the factory
	Seed         int64         // addresses, phases and values follow from it
	HealthPeriod time.Duration // between two health reports of one kind of one mote; 0 is 15 min, negative is never
	Latency      time.Duration // packets need up to this long through the mesh, so they may overtake each other; 0 is no time

	// Count stops each mote after that many temperature samples; 0 is endless.
	Count int
	// Numbered makes the temperature of a mote a running number, in hundredths of a degree: 1, 2, 3, ... 32767, 0.
	// A mote waits with its next sample while no session has subscribed to data, so that no number is lost unsent.
	Numbered bool

	Queue     int // reliable notifications that may wait; one more drops the oldest, counted. 0 is 128
	KeepAcked int // so many payloads of acknowledged notifications are kept for Acked; 0 is none

	Faults Faults
}

func (c *Config) fill() {
	if c.Period <= 0 {
		c.Period = 30 * time.Second
	}
	c.Period = max(c.Period, minRate)
	if c.HealthPeriod == 0 {
		c.HealthPeriod = 15 * time.Minute
	}
	if c.Queue <= 0 {
		c.Queue = 128
	}
}

// Manager is the manager and its mesh. Its methods are safe for concurrent use.
type Manager struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	agenda  agenda
	faults  Faults
	rng     *rand.Rand // faults and the manager's own choices; every mote has one of its own
	running bool
	clock   clock
	stats   Stats
	acked   [][]byte

	link        *link // the port served now, or nil
	silentUntil time.Time
	bootedUntil time.Time // nothing is sent or heard while the manager boots
	session     *session
	stale       sent // what the last session left unacknowledged
	relSeq      byte // last used number of a reliable packet
	unrelSeq    byte // that of the last unacknowledged one
	beacon      *entry

	eventID, callbackID uint32
	stored, active      netConfig // active is what the stored one was at boot
	started             bool      // the network is running
	advertising         byte
	frameMode           byte
	pending             map[byte]bool // operations that end with eventCommandFinished, by command
	acl                 map[[8]byte][16]byte
	ip                  [32]byte // address and mask
	test                radioTest
	license             [13]byte
	strobe              time.Time
	down                int       // packets waiting to leave for the mesh
	downFree            time.Time // when the next of them can leave

	ap     *mote
	field  []*mote // all motes there are, joined or not
	motes  []*mote // those the manager knows, by id; the first is the access point
	nextID uint16
	pathID uint16
	serial int // of motes ever made
}

// New makes a manager that has just booted. Its motes join when Run is called.
func New(cfg Config, log *slog.Logger) *Manager {
	cfg.fill()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		cfg:    cfg,
		log:    log,
		faults: cfg.Faults,
		rng:    rand.New(rand.NewPCG(uint64(cfg.Seed), 0)),
		stored: factoryConfig(),
		acl:    map[[8]byte][16]byte{},
	}
	m.ap = m.makeMote()
	m.ap.mac[5] = 0x30
	copy(m.ip[:], []byte{0xfe, 0x80})
	copy(m.ip[8:], m.ap.mac[:])
	for i := range 8 {
		m.ip[16+i] = 0xff
	}
	for range cfg.Motes {
		m.field = append(m.field, m.makeMote())
	}
	m.boot(time.Now())
	return m
}

// Run lets the motes join and live until ctx ends, and returns its error. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.running {
		m.mu.Unlock()
		return ErrRunning
	}
	m.running = true
	if m.started {
		m.joinAll()
	}
	m.plan()
	m.mu.Unlock()
	return m.drive(ctx)
}

// boot gives everything that does not survive a restart its first value. The persistent configuration stays.
func (m *Manager) boot(now time.Time) {
	m.agenda.clear()
	m.clock = newClock(now, m.faults.Drift)
	m.session, m.stale, m.beacon = nil, sent{}, nil
	m.eventID, m.callbackID = 0, 0
	m.active = m.stored
	m.advertising, m.frameMode = 0, 0
	m.pending = map[byte]bool{}
	m.test = radioTest{}
	m.strobe = time.Time{}
	m.down, m.downFree = 0, now
	m.stats.Manager = ManagerStats{}
	m.nextID, m.pathID = 1, 0
	m.motes = nil
	for _, mo := range m.field {
		mo.reset(m.cfg.Period)
		mo.known, mo.up, mo.down = false, nil, nil
		mo.setState(stateLost, now)
	}
	m.ap.down = nil
	m.register(m.ap)
	m.ap.setState(stateOperational, now)
	m.started = m.active.autoStart() && !m.active.radioTest()
}

// violate records what a client did wrong.
func (m *Manager) violate(text string, args ...any) {
	m.stats.violate(text, args...)
	m.log.Debug("client broke a rule", "rule", m.stats.last())
}

var be = binary.BigEndian
