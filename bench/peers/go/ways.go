package main

import (
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// open is a way to ask Redis, by its name.
func open(set *settings) (asks, error) {
	if set.Way == "pool" {
		return newPool(set), nil
	}
	script, err := openScript(set)
	if err != nil {
		return nil, err
	}
	switch set.Way {
	case "pipelined":
		return newPipeline(set, script), nil
	case "vectors":
		return newCollector(set, script), nil
	}
	return nil, fmt.Errorf("no such way: %s", set.Way)
}

// pool asks as most services do: a call a request, on a connection of its own as long as it takes.
type pool struct {
	redis *redis.Pool
	set   *settings
	fixed []any
}

func newPool(set *settings) *pool {
	fixed := []any{set.Sha, len(set.Keys)}
	for _, key := range set.Keys {
		fixed = append(fixed, key)
	}
	return &pool{newRedigo(set, set.Connections), set, fixed}
}

func (p *pool) ask(uid int64, arrived time.Time) string {
	conn := p.redis.Get()
	defer conn.Close()
	now, user := time.Now(), []*waiting{{uid: uid, arrived: arrived}}
	args := append(make([]any, 0, len(p.fixed)+5), p.fixed...)
	args = append(args, "", now.UnixMilli(), p.set.SkewMs, appendRows(nil, user, now, p.set.WaitCapMs), uid)
	reply, err := redis.Values(conn.Do("EVALSHA", args...))
	if err != nil || len(reply) != 2 {
		log.Printf("%v %v", reply, err)
		return "unavailable"
	}
	if _, ranked := reply[1].(int64); ranked {
		return "checked_in"
	}
	word, _ := redis.String(reply[1], nil)
	return word
}

// rooms are places of users who have been answered, for others.
var rooms = sync.Pool{New: func() any { return &waiting{word: make(chan string, 1)} }}

func room(uid int64, arrived time.Time) *waiting {
	one := rooms.Get().(*waiting)
	one.uid, one.arrived = uid, arrived
	return one
}

func (one *waiting) answered() string {
	word := <-one.word
	rooms.Put(one)
	return word
}

// signal wakes the other side, which may be awake.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// pipeline sends a call a request on one connection, without waiting for the replies to those before it.
type pipeline struct {
	script  *script
	lock    sync.Mutex
	unsent  []byte
	waiting chan *waiting // in the order of the calls
	wake    chan struct{}
}

func newPipeline(set *settings, script *script) *pipeline {
	p := &pipeline{script: script, waiting: make(chan *waiting, set.MostWaiting), wake: make(chan struct{}, 1)}
	go p.write()
	go p.read()
	return p
}

func (p *pipeline) ask(uid int64, arrived time.Time) string {
	one := room(uid, arrived)
	p.lock.Lock()
	select {
	case p.waiting <- one:
		p.unsent = p.script.appendCall(p.unsent, []*waiting{one})
		p.lock.Unlock()
	default:
		p.lock.Unlock()
		return "busy"
	}
	signal(p.wake)
	return one.answered()
}

func (p *pipeline) write() {
	var sending []byte
	for range p.wake {
		p.lock.Lock()
		sending, p.unsent = p.unsent, sending[:0]
		p.lock.Unlock()
		if err := p.script.write(sending); err != nil {
			p.script.conn.Close() // so that read sees it, too
		}
	}
}

// read answers in order. After an error everybody is told so: nothing is asked again.
func (p *pipeline) read() {
	var err error
	for one := range p.waiting {
		user := []*waiting{one}
		if err != nil {
			tell(user, "unavailable")
		} else if err = p.script.answer(user); err != nil {
			log.Print(err)
		}
	}
}

// collector sends what has come while the calls before were under way, as clock/game/batch.py does: up to most_users
// in a call, up to most_calls at once.
type collector struct {
	script  *script
	set     *settings
	lock    sync.Mutex
	waiting []*waiting
	wake    chan struct{}
	err     error
}

func newCollector(set *settings, script *script) *collector {
	c := &collector{script: script, set: set, wake: make(chan struct{}, 1)}
	go c.run()
	return c
}

func (c *collector) ask(uid int64, arrived time.Time) string {
	c.lock.Lock()
	if len(c.waiting) >= c.set.MostWaiting {
		c.lock.Unlock()
		return "busy"
	}
	one := room(uid, arrived)
	c.waiting = append(c.waiting, one)
	c.lock.Unlock()
	signal(c.wake)
	return one.answered()
}

func (c *collector) run() {
	var users []*waiting
	for range c.wake {
		c.lock.Lock()
		users, c.waiting = c.waiting, users[:0]
		c.lock.Unlock()
		for left := users; len(left) > 0; {
			left = c.send(left)
		}
	}
}

// send answers the first of these users, and gives back the others. After an error everybody is told so.
func (c *collector) send(users []*waiting) []*waiting {
	var calls [][]*waiting
	var commands []byte
	for len(users) > 0 && len(calls) < c.set.MostCalls {
		count := len(users)
		if count > c.set.MostUsers {
			count = c.set.MostUsers
		}
		calls, commands = append(calls, users[:count]), c.script.appendCall(commands, users[:count])
		users = users[count:]
	}
	if c.err == nil {
		c.err = c.script.write(commands)
	}
	for _, call := range calls {
		if c.err != nil {
			tell(call, "unavailable")
		} else if c.err = c.script.answer(call); c.err != nil {
			log.Print(c.err)
		}
	}
	return users
}
