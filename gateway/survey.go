package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/meshgate/meshgate/smartmesh"
)

const (
	// surveyPace is the pause between two questions to the manager. They are of lower use than
	// anything else it is asked, and a mesh changes slowly: a hundred motes take some ten minutes.
	surveyPace = time.Second
	// surveyPeriod is how old what is known of a mote may get before it is asked for again.
	surveyPeriod = 10 * time.Minute
	// surveyRest is how often it is looked whether there is something to ask.
	surveyRest = 5 * time.Second

	linkReceives = 0x02 // flag of a link; not published, but as in IEEE 802.15.4
)

// survey is what the manager tells of the network and its motes when it is asked: paths, links and
// counters.
type survey struct {
	mu      sync.Mutex
	motes   map[smartmesh.MAC]surveyed
	due     map[smartmesh.MAC]bool // something has happened to their paths
	network *smartmesh.NetworkInfo
	at      time.Time // of network
}

// surveyed is what was told of one mote.
type surveyed struct {
	info     smartmesh.MoteInfo
	paths    []smartmesh.NextPathInfo
	receives int  // its receive links
	known    bool // info could be read
	at       time.Time
}

func newSurvey() *survey {
	return &survey{motes: map[smartmesh.MAC]surveyed{}, due: map[smartmesh.MAC]bool{}}
}

// pathChanged has both ends of a path asked again soon.
func (v *survey) pathChanged(a, b smartmesh.MAC) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.due[a], v.due[b] = true, true
}

// surveyMesh asks on and on, until ctx or the session ends.
func (m *mesh) surveyMesh(ctx context.Context, s *smartmesh.Session) {
	for {
		mac, found := m.survey.next(m.motes.snapshot(), time.Now())
		var err error
		switch {
		case m.survey.networkDue(time.Now()):
			err = m.surveyNetwork(ctx, s)
		case found:
			err = m.surveyMote(ctx, s, mac)
		default:
			sleep(ctx, surveyRest)
		}
		if ctx.Err() != nil || err != nil && !isRC(err) && !errors.Is(err, smartmesh.ErrBadResponse) {
			return // the session's end is told by others
		}
	}
}

// next gives the mote to ask about: one whose paths have changed first, else the one asked longest
// ago, if that is long enough.
func (v *survey) next(all []mote, now time.Time) (smartmesh.MAC, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var best smartmesh.MAC
	found, oldest := false, now.Add(-surveyPeriod)
	for _, mo := range all {
		if mo.state == "never" {
			continue
		}
		if v.due[mo.mac] {
			return mo.mac, true
		}
		if at := v.motes[mo.mac].at; !at.After(oldest) {
			best, found, oldest = mo.mac, true, at
		}
	}
	return best, found
}

func (v *survey) networkDue(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.network == nil || now.Sub(v.at) >= surveyPeriod
}

func (m *mesh) surveyNetwork(ctx context.Context, s *smartmesh.Session) error {
	info, err := s.GetNetworkInfo(ctx)
	m.survey.mu.Lock()
	if m.survey.at = time.Now(); err == nil {
		m.survey.network = &info
	}
	m.survey.mu.Unlock()
	sleep(ctx, surveyPace)
	return err
}

// surveyMote asks all there is about one mote. What the manager refuses is left out: motes come
// and go while they are asked about.
func (m *mesh) surveyMote(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC) error {
	m.survey.mu.Lock()
	delete(m.survey.due, mac)
	m.survey.mu.Unlock()
	var got surveyed
	info, err := s.GetMoteInfo(ctx, mac)
	sleep(ctx, surveyPace)
	if err == nil {
		got.info, got.known = info, true
		got.paths, err = readPaths(ctx, s, mac)
	}
	if err == nil || isRC(err) {
		got.receives, err = readLinks(ctx, s, mac)
	}
	got.at = time.Now()
	m.survey.mu.Lock()
	defer m.survey.mu.Unlock()
	m.survey.motes[mac] = got
	return err
}

func readPaths(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC) (paths []smartmesh.NextPathInfo, err error) {
	for p, err := range s.Paths(ctx, mac, smartmesh.PathsAll) {
		sleep(ctx, surveyPace)
		if err != nil {
			return paths, err
		}
		paths = append(paths, p)
	}
	sleep(ctx, surveyPace) // the end of the list was an answer too
	return paths, nil
}

// readLinks counts the receive links of a mote, ten at a time.
func readLinks(ctx context.Context, s *smartmesh.Session, mac smartmesh.MAC) (receives int, err error) {
	for idx := 0; idx < 1<<16; {
		page, err := s.GetMoteLinks(ctx, mac, uint16(idx))
		sleep(ctx, surveyPace)
		if rc, ok := errors.AsType[*smartmesh.RCError](err); ok && rc.RC == smartmesh.RCEndOfList {
			return receives, nil
		}
		if err != nil || len(page.Links) == 0 {
			return receives, err
		}
		for _, l := range page.Links {
			if l.Flags&linkReceives != 0 {
				receives++
			}
		}
		idx += len(page.Links)
	}
	return receives, nil
}

// view copies what is known. Motes that nobody knows any more are forgotten on the way.
func (v *survey) view(all []mote) (map[smartmesh.MAC]surveyed, *smartmesh.NetworkInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[smartmesh.MAC]surveyed{}
	for _, mo := range all {
		if s, ok := v.motes[mo.mac]; ok {
			out[mo.mac] = s
		}
	}
	for mac := range v.motes {
		if _, ok := out[mac]; !ok {
			delete(v.motes, mac)
		}
	}
	return out, v.network
}
