/* kqueue and kevent over epoll: the parts that src/sys/kqueue.rs calls, so that it runs on Linux, where no package has
 * a port of the interface. `.ci/kqueue` builds it and runs the tests of the poller and of the server with it.
 *
 * It is stricter than the kernels of macOS and FreeBSD: adding an existing filter is an error (EEXIST), as in one of the
 * ports, and code that never does it is right everywhere.
 *
 *   changes ─▶ the table of filters, by descriptor ─▶ epoll_ctl
 *   events  ◀─ one for each filter of a descriptor that epoll reports
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define DESCRIPTORS (1 << 16)
#define EVENTS 512

/* The filters of one descriptor. */
struct watch {
    uint32_t events;
    void *reader;
    void *writer;
};

/* The tables of all queues, by the queue's descriptor; created with the queue, and found by any thread. */
static struct watch *queues[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int kqueue(void)
{
    int queue = epoll_create1(0);
    if (queue < 0)
        return -1;
    if (queue >= DESCRIPTORS)
        abort();
    pthread_mutex_lock(&lock);
    free(queues[queue]);
    queues[queue] = calloc(DESCRIPTORS, sizeof(struct watch));
    pthread_mutex_unlock(&lock);
    return queue;
}

static int control(int queue, int fd, struct watch *watch, uint32_t before)
{
    struct epoll_event event = {.events = watch->events ? watch->events | EPOLLRDHUP : 0, .data.fd = fd};
    if (!watch->events)
        return epoll_ctl(queue, EPOLL_CTL_DEL, fd, &event);
    return epoll_ctl(queue, before ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

/* Applies one change. Returns the error number, or 0. */
static int apply(int queue, const struct kevent *change)
{
    int fd = (int)change->ident;
    if (fd < 0 || fd >= DESCRIPTORS)
        return EBADF;
    uint32_t bit = change->filter == EVFILT_READ ? EPOLLIN : EPOLLOUT;
    struct watch *watch = &queues[queue][fd];
    struct watch before = *watch;
    struct epoll_event probe = {.events = watch->events | EPOLLRDHUP, .data.fd = fd};
    /* Closing a descriptor has removed its filters. */
    if (watch->events && epoll_ctl(queue, EPOLL_CTL_MOD, fd, &probe) != 0)
        memset(watch, 0, sizeof *watch), before = *watch;
    if (change->flags & EV_ADD) {
        if (watch->events & bit)
            return EEXIST;
        watch->events |= bit;
        *(bit == EPOLLIN ? &watch->reader : &watch->writer) = change->udata;
    } else {
        if (!(watch->events & bit))
            return ENOENT;
        watch->events &= ~bit;
    }
    if (control(queue, fd, watch, before.events) == 0)
        return 0;
    *watch = before;
    return errno;
}

static void report(struct kevent *event, int fd, int16_t filter, uint32_t found, void *udata)
{
    memset(event, 0, sizeof *event);
    event->ident = (uintptr_t)fd;
    event->filter = filter;
    event->udata = udata;
    uint32_t end = filter == EVFILT_READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
    if (found & end)
        event->flags |= EV_EOF;
    if (found & EPOLLERR)
        event->fflags = ECONNRESET;
}

static int collect(int queue, struct kevent *events, int room, const struct timespec *limit)
{
    struct epoll_event found[EVENTS];
    int most = room / 2 < EVENTS ? room / 2 : EVENTS;
    long ms = limit ? limit->tv_sec * 1000 + (limit->tv_nsec + 999999) / 1000000 : -1;
    int count = epoll_wait(queue, found, most, ms > INT32_MAX ? INT32_MAX : (int)ms);
    if (count < 0)
        return -1;
    int reported = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        int fd = found[i].data.fd;
        uint32_t gone = found[i].events & (EPOLLHUP | EPOLLERR);
        struct watch *watch = &queues[queue][fd];
        if (watch->events & EPOLLIN && (found[i].events & (EPOLLIN | EPOLLRDHUP) || gone))
            report(&events[reported++], fd, EVFILT_READ, found[i].events, watch->reader);
        if (watch->events & EPOLLOUT && (found[i].events & EPOLLOUT || gone))
            report(&events[reported++], fd, EVFILT_WRITE, found[i].events, watch->writer);
    }
    pthread_mutex_unlock(&lock);
    return reported;
}

int kevent(int queue, const struct kevent *changes, int change_count, struct kevent *events, int event_count,
           const struct timespec *limit)
{
    int receipts = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < change_count; i++) {
        int error = apply(queue, &changes[i]);
        if (receipts < event_count && (error || changes[i].flags & EV_RECEIPT)) {
            events[receipts] = changes[i];
            events[receipts].flags |= EV_ERROR;
            events[receipts++].data = error;
        }
    }
    pthread_mutex_unlock(&lock);
    if (receipts || event_count == 0)
        return receipts;
    return collect(queue, events, event_count, limit);
}
