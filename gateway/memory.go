package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// memory keeps the answers to commands that had an id, so that one that comes again, after a
// restart too, gets the same answer and switches nothing.
//
// It is a file of lines in the state folder, only ever appended to: one when a command begins, one
// with its result. No pin waits for them: a goroutine writes what has come meanwhile, flushes it
// once, and then lets the results go, in order; so whoever has an answer can rely on it. Of a
// command that was never answered, a crash may leave no line at all. A line that is torn or damaged
// is left out. When the file has grown by a good deal, it is written anew.
type memory struct {
	jobs chan job
	done chan struct{}

	mu      sync.Mutex         // never held while the disk is waited for
	targets map[string][]*memo // oldest first
	behind  bool               // lines were left out: the file is to be written anew

	// The goroutine's own.
	file lineFile
	live int64 // bytes of what was in it when it was written anew
	keeping
}

// job is something for the goroutine: a line to write, or what is to happen after those before.
type job struct {
	line *memo
	then func()
}

// maxJobs bounds what waits for the disk. Beyond it beginnings and refusals are left out until the file is written anew, and
// results wait.
const maxJobs = 1024

// memo is what is remembered of one command; a line of the file.
type memo struct {
	Target   string    `json:"target"`
	ID       string    `json:"id"`
	Order    string    `json:"order"` // what was asked, to tell a repeat from another command with the same id
	Accepted time.Time `json:"accepted,omitzero"`
	Stage    string    `json:"stage,omitempty"` // empty: it was being carried out
	Error    string    `json:"error,omitempty"`
	Done     time.Time `json:"done,omitzero"`
}

const (
	maxMemos      = 1024      // remembered of one target
	maxMemoryFile = 256 << 10 // bytes by which the file may grow before it is written anew, or to twice its size
	maxMemoID     = 128       // bytes of an id
)

var (
	errInterrupted = errors.New("the gateway ended while this command was being carried out, so how far it came is not known; look at the state, and send a new id to try again")
	errIDUsed      = errors.New("this id belongs to an earlier, different command; nothing was switched: a command needs an id of its own")
	errLongID      = fmt.Errorf("the id is longer than %d bytes", maxMemoID)
)

// openMemory reads what is remembered. A file that cannot be read is no reason not to start: it is
// logged, and what comes from now on is remembered.
func openMemory(dir string, log *slog.Logger) *memory {
	m := &memory{file: lineFile{path: filepath.Join(dir, "commands.jsonl")}, targets: map[string][]*memo{}, keeping: keeping{log: log,
		what: "the ids of commands cannot be kept on the disk: after a restart a repeated command would switch again"},
		jobs: make(chan job, maxJobs), done: make(chan struct{})}
	data, err := os.ReadFile(m.file.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.tell(err)
	}
	bad := 0
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		var e memo
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Target == "" || e.ID == "" {
			bad++
			continue
		}
		if i := m.find(e.Target, e.ID); i < 0 || e.Stage != "" { // the beginning is no news where the end is known
			m.put(&e)
		}
	}
	if bad > 0 {
		log.Warn("lines of the remembered commands are damaged and left out", "file", m.file.path, "lines", bad)
	}
	if len(data) > 0 {
		m.rewrite()
	}
	go m.run()
	return m
}

// run writes what comes, as many lines at once as there are, until close.
func (m *memory) run() {
	defer close(m.done)
	for j := range m.jobs {
		batch := []job{j}
		for more := true; more && len(batch) < maxJobs; {
			select {
			case j, ok := <-m.jobs:
				if more = ok; ok {
					batch = append(batch, j)
				}
			default:
				more = false
			}
		}
		m.write(batch)
		m.mu.Lock()
		behind := m.behind
		m.mu.Unlock()
		if behind {
			m.rewrite()
		}
		for _, j := range batch {
			if j.then != nil {
				j.then()
			}
		}
	}
	m.file.close()
}

// put adds a memo, or replaces the one of its id.
func (m *memory) put(e *memo) {
	list := m.targets[e.Target]
	if i := m.find(e.Target, e.ID); i >= 0 {
		list[i] = e
		return
	}
	if len(list) >= maxMemos {
		list = slices.Delete(list, 0, 1)
	}
	m.targets[e.Target] = append(list, e)
}

func (m *memory) find(target, id string) int {
	return slices.IndexFunc(m.targets[target], func(e *memo) bool { return e.ID == id })
}

// begin says that a command is about to be carried out; when it was before, it gives the result
// that it had then.
func (m *memory) begin(target string, o order, accepted time.Time) (before result, again bool) {
	if o.id == "" {
		return result{}, false
	}
	if len(o.id) > maxMemoID {
		return refused("", errLongID), true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.find(target, o.id); i >= 0 {
		return m.targets[target][i].answer(o), true
	}
	e := &memo{Target: target, ID: o.id, Order: o.what(), Accepted: accepted.UTC()}
	m.put(e)
	m.offer(job{line: e})
	return result{}, false
}

// settle keeps the answer to a command that was not tried, and has it told. It does not wait for a disk that is far behind.
func (m *memory) settle(target string, o order, r result, tell func(result)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.find(target, o.id)
	switch {
	case i >= 0 && m.targets[target][i].Stage != "": // it comes again
		tell(m.targets[target][i].answer(o))
	case i >= 0, o.id == "", len(o.id) > maxMemoID: // the first of its id is at work and will have the answer
		tell(r)
	default:
		e := newMemo(target, o, r)
		m.put(e)
		if !m.offer(job{line: e, then: func() { tell(r) }}) {
			tell(r)
		}
	}
}

// offer gives the goroutine a job if it has room for one. The caller has mu.
func (m *memory) offer(j job) bool {
	select {
	case m.jobs <- j:
		return true
	default:
		m.behind = true
		return false
	}
}

// answer is the result of a command that comes again.
func (e *memo) answer(o order) result {
	switch {
	case e.Order != o.what():
		return refused(o.id, errIDUsed)
	case e.Stage == "":
		return result{id: e.ID, stage: stageFailed, err: errInterrupted, accepted: e.Accepted, repeated: true}
	}
	r := result{id: e.ID, stage: e.Stage, accepted: e.Accepted, done: e.Done, repeated: true}
	if e.Error != "" {
		r.err = errors.New(e.Error)
	}
	return r
}

// end keeps the result of a command that began.
func (m *memory) end(target string, o order, r result) {
	if o.id == "" {
		return
	}
	e := newMemo(target, o, r)
	m.mu.Lock()
	m.put(e)
	m.mu.Unlock()
	m.jobs <- job{line: e}
}

func newMemo(target string, o order, r result) *memo {
	e := &memo{Target: target, ID: o.id, Order: o.what(), Accepted: r.accepted.UTC(), Stage: r.stage, Done: r.done.UTC()}
	if r.err != nil {
		e.Error = words(r.err)
	}
	return e
}

// then has something done once all that ended before is on the disk.
func (m *memory) then(do func()) { m.jobs <- job{then: do} }

// write appends lines, and flushes them if one of them is the end of a command.
func (m *memory) write(batch []job) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	flush := false
	for _, j := range batch {
		if j.line != nil {
			flush = flush || j.line.Stage != ""
			if err := enc.Encode(j.line); err != nil {
				m.tell(err)
			}
		}
	}
	if text.Len() == 0 {
		return
	}
	m.tell(m.file.append(text.Bytes(), flush))
	if m.file.size > m.live+max(m.live, maxMemoryFile) {
		m.rewrite()
	}
}

// rewrite replaces the file by one with what is remembered and nothing else.
func (m *memory) rewrite() {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	m.mu.Lock()
	for _, list := range m.targets {
		for _, e := range list {
			if err := enc.Encode(e); err != nil {
				m.tell(err)
			}
		}
	}
	m.behind = false
	m.mu.Unlock()
	err := m.file.replace(text.Bytes())
	m.tell(err)
	if err == nil {
		m.live = m.file.size
	}
}

// close ends it, after all that has come. There must be no more commands.
func (m *memory) close() {
	close(m.jobs)
	<-m.done
}
