package gateway

import "sync"

// uplinks tells the outputs whether commands can come from afar: while any bridge is connected
// they can. A gateway without bridges never loses that link.
type uplinks struct {
	tell func(up bool)

	mu sync.Mutex
	up map[string]bool // by bridge
}

// set is called when a bridge is connected, and at every failure of it.
func (u *uplinks) set(name string, up bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.up == nil {
		u.up = map[string]bool{}
	}
	u.up[name] = up
	u.say()
}

// drop is for a bridge that is no more.
func (u *uplinks) drop(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.up, name)
	u.say()
}

func (u *uplinks) say() {
	any := len(u.up) == 0
	for _, up := range u.up {
		any = any || up
	}
	u.tell(any)
}
