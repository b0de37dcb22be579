package smartmesh

import "context"

type moteKey struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
	Key Key `sm:"key,secret" doc:"16-byte key"`
}

// An ACLEntry allows a mote to join with a key of its own.
type ACLEntry struct {
	MAC     MAC `sm:"macAddress" doc:"EUI-64 of the mote"`
	JoinKey Key `sm:"joinKey,secret" doc:"16-byte join key"`
}

type nextEntry struct {
	MAC MAC `sm:"macAddress,zero" doc:"EUI-64 of the previous entry; all zero starts"`
}

type commonKey struct {
	Key Key `sm:"key,secret" doc:"16-byte key"`
}

var (
	exchangeMoteJoinKey = command[moteKey, callback]{33, "exchangeMoteJoinKey",
		"Pushes a new join key to one mote and stores it in the ACL; ends with eventCommandFinished.", changes | dangerous}
	setACLEntry = command[ACLEntry, none]{39, "setACLEntry",
		"Adds or overwrites one access-control entry (up to 1200 entries).", changes | dangerous}
	getNextACLEntry = command[nextEntry, ACLEntry]{40, "getNextACLEntry",
		"Iterates the access-control list; start with an all-zero address.", 0}
	deleteACLEntry = command[moteAddress, none]{41, "deleteACLEntry",
		"Removes one entry, or all of them when the address is all 0x00 or all 0xFF.", changes | dangerous}
	setCommonJoinKey = command[commonKey, none]{66, "setCommonJoinKey",
		"Sets the join key accepted while the ACL is empty.", changes | dangerous}

	securityCommands = []*spec{exchangeMoteJoinKey.spec(), setACLEntry.spec(), getNextACLEntry.spec(), deleteACLEntry.spec(),
		setCommonJoinKey.spec()}
)

// ExchangeMoteJoinKey gives a mote a new join key and stores it in the access list. The handle returned comes back in a
// *CommandFinished.
func (s *Session) ExchangeMoteJoinKey(ctx context.Context, mac MAC, key Key) (callbackID uint32, err error) {
	r, err := call(ctx, s, exchangeMoteJoinKey, moteKey{mac, key})
	return r.CallbackID, err
}

// SetACLEntry adds or overwrites an entry of the access list.
func (s *Session) SetACLEntry(ctx context.Context, e ACLEntry) error {
	_, err := call(ctx, s, setACLEntry, e)
	return err
}

// GetNextACLEntry reads the entry after that of mac; see ACL.
func (s *Session) GetNextACLEntry(ctx context.Context, mac MAC) (ACLEntry, error) {
	return call(ctx, s, getNextACLEntry, nextEntry{mac})
}

// DeleteACLEntry removes an entry; all of them if mac is all zeros or Broadcast.
func (s *Session) DeleteACLEntry(ctx context.Context, mac MAC) error {
	_, err := call(ctx, s, deleteACLEntry, moteAddress{mac})
	return err
}

// SetCommonJoinKey sets the key that motes join with while the access list is empty.
func (s *Session) SetCommonJoinKey(ctx context.Context, key Key) error {
	_, err := call(ctx, s, setCommonJoinKey, commonKey{key})
	return err
}
