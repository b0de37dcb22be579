package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3": the C library
	"github.com/meshgate/meshgate/bridge/spool"
	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite" // the driver "sqlite": pure Go
)

// spooled is the spool, with a reader that acknowledges all.
type spooled struct {
	s      *spool.Spool
	window time.Duration
	ended  chan struct{}
}

func openSpool(dir string, window time.Duration) (keeper, error) {
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{MaxSize: 64 << 20, Sync: window})
	if err != nil {
		return nil, err
	}
	r, err := s.Reader("cloud")
	if err != nil {
		return nil, err
	}
	k := &spooled{s, window, make(chan struct{})}
	go func() {
		defer close(k.ended)
		defer r.Close()
		for {
			rec, err := r.Next(context.Background())
			if err != nil {
				return
			}
			r.Ack(rec.Seq)
		}
	}()
	return k, nil
}

// keep appends: in one call, or, when the spool has a window of its own, spread over that as they would come in.
func (k *spooled) keep(recs []spool.Record) error {
	if k.window == 0 || len(recs) > 100 {
		_, err := k.s.Append(recs...)
		return err
	}
	start := time.Now()
	for i := range recs {
		time.Sleep(time.Until(start.Add(k.window * time.Duration(i) / time.Duration(len(recs)))))
		if _, err := k.s.Append(recs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (k *spooled) close() error {
	err := k.s.Close()
	<-k.ended
	return err
}

// A database is SQLite with a log (WAL) that is flushed at each commit.
type database struct{ db *sql.DB }

func openSQLite(dir string, _ time.Duration) (keeper, error) {
	return openDatabase("sqlite3", dir, "_journal_mode=WAL&_synchronous=FULL")
}

func openSQLiteGo(dir string, _ time.Duration) (keeper, error) {
	return openDatabase("sqlite", dir, "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
}

func openDatabase(driver, dir, options string) (keeper, error) {
	db, err := sql.Open(driver, "file:"+filepath.Join(dir, "queue.db")+"?"+options)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var journal string
	var level int
	if err := db.QueryRow(`PRAGMA journal_mode`).Scan(&journal); err != nil {
		return nil, err
	}
	if err := db.QueryRow(`PRAGMA synchronous`).Scan(&level); err != nil {
		return nil, err
	}
	if journal != "wal" || level != 2 {
		return nil, fmt.Errorf("journal %q, synchronous %d: not what is to be measured", journal, level)
	}
	_, err = db.Exec(`CREATE TABLE queue (seq INTEGER PRIMARY KEY, time INTEGER, topic TEXT, payload BLOB)`)
	return &database{db}, err
}

func (k *database) keep(recs []spool.Record) error {
	tx, err := k.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, r := range recs {
		if _, err := tx.Exec(`INSERT INTO queue (time, topic, payload) VALUES (?, ?, ?)`, r.Time.UnixMicro(), r.Topic, r.Payload); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// carryOver writes what is in the log into the database.
func (k *database) carryOver() error {
	var busy, pages, done int
	if err := k.db.QueryRow(`PRAGMA wal_checkpoint`).Scan(&busy, &pages, &done); err != nil {
		return err
	}
	if busy != 0 || done != pages {
		return fmt.Errorf("checkpoint of %d pages of %d, busy %d", done, pages, busy)
	}
	return nil
}

func (k *database) close() error { return k.db.Close() }

// A bucket is bbolt as it comes, a key a record.
type bucket struct{ db *bbolt.DB }

func openBolt(dir string, _ time.Duration) (keeper, error) {
	db, err := bbolt.Open(filepath.Join(dir, "queue.bolt"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	return &bucket{db}, nil
}

func (k *bucket) keep(recs []spool.Record) error {
	return k.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("queue"))
		if err != nil {
			return err
		}
		b.FillPercent = 1 // keys only grow
		for _, r := range recs {
			seq, err := b.NextSequence()
			if err != nil {
				return err
			}
			value := binary.LittleEndian.AppendUint64(nil, uint64(r.Time.UnixMicro()))
			value = append(append(append(value, r.Topic...), 0), r.Payload...)
			if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *bucket) close() error { return k.db.Close() }
