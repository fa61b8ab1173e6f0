/* SPDX-License-Identifier: ISC */
/* I/O pages, views, packet buffers and pools.
 *
 * Three words say who owns what, here and everywhere:
 *   borrow   valid during the call only; `const` where it is only read
 *   give     the callee owns it from the moment of the call, on success AND on error (MIR_GIVE)
 *   lend     comes back through a completion or release callback
 *
 *   struct mir_io_page   a run of memory, page-aligned if it is of a pool, with a reference count
 * on the backing store struct mir_view      (page, first byte, length): holds one reference; it can
 * only shrink struct mir_buf       a packet: a linear part with head room and tail room, plus views
 *
 *            start      data                data+len        end
 *              |---------|====================|--------------|     linear part: inline head[] or
 *               head room   bytes of packet      tail room         a page
 *                        then frag[0] .. frag[frag_count-1]        payload by reference
 *
 * A device receives into pages and gives buffers upwards; a protocol strips its header by
 * shrinking; an application keeps views. On the way out each layer prepends its header in the head
 * room of the same buffer, and payload pages are referenced until the peer has acknowledged them.
 *
 * Memory comes from an arena that the target hands over once. Nothing is given back to the host;
 * mir_page_pool_used_bytes() and mir_pool_used() are zero when everything was released.
 */
#ifndef MIRARI_PAGE_H
#define MIRARI_PAGE_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>

#define MIR_PAGE_SIZE  4096u
#define MIR_PAGE_SHIFT 12
/** Largest run: a 64 KiB frame with its headers. */
#define MIR_PAGE_RUN_MAX 17u
/** Bytes of one ready-made checksum block (struct mir_io_page.block_sums). */
#define MIR_PAGE_SUM_BLOCK 256u

struct mir_page_pool;
struct mir_io_page;

/** Called when the last reference to a foreign page goes. */
typedef void (*mir_page_release_fn)(struct mir_io_page *page, void *arg);

enum mir_page_flags {
    MIR_PAGE_STATIC = 1,   /**< never freed, counted or written: .rodata of a crunched store */
    MIR_PAGE_FOREIGN = 2,  /**< memory of somebody else; release() hands it back */
    MIR_PAGE_SHARED = 4,   /**< two threads can hold it: the count is atomic */
    MIR_PAGE_READONLY = 8, /**< holders may not write */
};

struct mir_io_page {
    uint8_t *base;       /**< first byte; page-aligned unless foreign or static */
    uint32_t size_bytes; /**< whole run */
    uint32_t flags;      /**< enum mir_page_flags */
    /** NULL, or one's-complement sums (RFC 1071, host order as loaded from memory) of the first
     *  i blocks of MIR_PAGE_SUM_BLOCK bytes, i = 0 .. size/256: any range's sum in O(1). */
    const uint16_t *block_sums;
    /* private: */
    uint32_t refs;
    uint32_t class_index;
    mir_page_release_fn release;
    void *release_arg;
    struct mir_page_pool *pool;
    struct mir_io_page *next_free;
};

/* ---- pools ------------------------------------------------------------------------------- */

#define MIR_PAGE_CLASSES 5

/** Pages of runs of 1, 2, 4, 8 or 17, from one arena. Single-threaded unless said. */
struct mir_page_pool {
    /* private: */
    uint8_t *arena;
    size_t arena_size;
    size_t fresh_at; /* bytes of the arena handed out for the first time */
    size_t used_bytes;
    size_t peak_bytes;
    uint64_t failures;
    uint64_t fail_at; /* 0, or fail the n-th request from now */
    struct mir_io_page *free_list[MIR_PAGE_CLASSES];
    struct mir_io_page *spare; /* descriptors without a run */
};

/**
 * mir_page_pool_init() - make a pool from an arena.
 *
 * @arena       page-aligned, lent until the pool is no longer used; must read as zero at first use
 *              only if @size_bytes is fresh from the host (nothing relies on it)
 * @size_bytes  multiple of MIR_PAGE_SIZE, at least 16 pages
 *
 * Returns 0 or -MIR_EINVAL (alignment or size).
 * Cost    O(1)
 * Source  none
 */
int mir_page_pool_init(struct mir_page_pool *pool, void *arena, size_t size_bytes) MIR_CHECK;

/** Bytes of the runs that are held now (0 when everything was released), and of the rest. */
size_t mir_page_pool_used_bytes(const struct mir_page_pool *pool);
size_t mir_page_pool_free_bytes(const struct mir_page_pool *pool);

/** All its memory: where page runs, and so packet buffers and objects of pools, come from. */
static inline void *mir_page_pool_arena(const struct mir_page_pool *pool, size_t *size_bytes)
{
    *size_bytes = pool->arena_size;
    return pool->arena;
}

/**
 * mir_page_pool_take_end() - a page from the end of the arena, for good.
 *
 * For a target whose stacks grow: it may be called in the middle of any other call of the pool, in
 * the same thread. So it takes only what was never handed out, and leaves the last runs of that.
 * The page never comes back; the pool is smaller from now on.
 *
 * Returns the page, or NULL.
 * Cost    O(1)
 * Source  none
 */
void *mir_page_pool_take_end(struct mir_page_pool *pool);

/**
 * mir_page_pool_take_end_run() - contiguous memory from the end of the arena, for good.
 *
 * For what is made once at start and stays, such as the contents of a store. A stack that grows
 * meanwhile is no harm.
 *
 * @size_bytes  any, rounded up to pages; 0: nothing is taken
 *
 * Returns its first byte, or NULL. Its contents are undefined.
 * Cost    O(1)
 * Source  none
 */
void *mir_page_pool_take_end_run(struct mir_page_pool *pool, size_t size_bytes) MIR_CHECK;

/** Make the @nth next allocation fail (1 = the next one); 0 = none. For tests. */
void mir_page_pool_fail_at(struct mir_page_pool *pool, uint64_t nth);

enum mir_page_alloc_flags {
    MIR_PAGE_ZERO = 0,      /**< the run is zeroed */
    MIR_PAGE_OVERWRITE = 1, /**< caller shows only bytes it has written (a received frame) */
};

/**
 * mir_page_alloc() - a page run of at least @size_bytes.
 *
 * @size_bytes  1 .. 17 pages
 * @flags       MIR_PAGE_ZERO or MIR_PAGE_OVERWRITE
 * @page        out: a run with one reference
 *
 * Returns 0, -MIR_ENOMEM (counted), -MIR_EINVAL.
 * Cost    O(1), plus zeroing
 * Source  none
 */
int mir_page_alloc(struct mir_page_pool *pool, size_t size_bytes, unsigned flags,
                   struct mir_io_page **page) MIR_CHECK;

/**
 * mir_page_wrap() - make a page of foreign memory without a copy.
 *
 * @page        caller's structure, which must live until @release is called
 * @base        [size_bytes] bytes, lent
 * @release     called once, when the last reference goes
 *
 * Returns nothing; the page has one reference.
 * Source  none
 */
void mir_page_wrap(struct mir_io_page *page, void *base, uint32_t size_bytes, unsigned flags,
                   mir_page_release_fn release, void *arg);

void mir__page_free(struct mir_io_page *page);

/** Take one more reference. */
static inline struct mir_io_page *mir_page_acquire(struct mir_io_page *page)
{
    if (page->flags & MIR_PAGE_STATIC)
        return page;
    if (page->flags & MIR_PAGE_SHARED) {
        __atomic_fetch_add(&page->refs, 1, __ATOMIC_RELAXED);
    } else {
        MIR_ASSERT_OP(page->refs, >, 0);
        page->refs++;
    }
    return page;
}

/** Give a reference back; the last one frees the run or calls its release function. */
static inline void mir_page_release(struct mir_io_page *page)
{
    uint32_t before;
    if (page->flags & MIR_PAGE_STATIC)
        return;
    if (page->flags & MIR_PAGE_SHARED)
        before = __atomic_fetch_sub(&page->refs, 1, __ATOMIC_ACQ_REL);
    else
        before = page->refs--;
    MIR_ASSERT_OP(before, >, 0);
    if (before == 1)
        mir__page_free(page);
}

/** Objects of one size with a limit, carved from pages as needed and kept on a free list. */
struct mir_pool {
    /* private: */
    const char *name;
    struct mir_page_pool *pages;
    uint32_t object_size;
    uint32_t limit;
    uint32_t used;
    uint32_t peak;
    uint64_t failures;
    uint64_t fail_at;
    void *free_list;
    struct mir_io_page *chunks; /* every run carved so far, linked by next_free */
    struct mir_list open;       /* of a pool that gives back: chunks with a free object */
    bool gives_back;
    bool has_spare; /* an empty chunk is kept */
};

/**
 * mir_pool_init() - prepare a pool of objects.
 *
 * @name         static text for statistics
 * @object_size  1 .. 17 pages; objects are aligned to 16 bytes
 * @limit        most objects at one time
 *
 * Returns 0 or -MIR_EINVAL. No memory is taken yet.
 * Source  none
 */
int mir_pool_init(struct mir_pool *pool, const char *name, struct mir_page_pool *pages,
                  size_t object_size, uint32_t limit) MIR_CHECK;
/** For a pool just made: a chunk whose objects are all free goes back to the page pool, except one,
 *  so that memory follows use and not its peak. Objects take at most a quarter of a page; the pool
 *  must stay where it is. Source: none. Returns nothing. */
void mir_pool_gives_back(struct mir_pool *pool);
/** Give the chunks back to the page pool; every object must have been released. */
void mir_pool_fini(struct mir_pool *pool);
/** An object with undefined contents, or NULL (limit or memory; counted). O(1). */
void *mir_pool_alloc(struct mir_pool *pool) MIR_CHECK;
/** Poisoned in debug builds; @object may be NULL. O(1). */
void mir_pool_free(struct mir_pool *pool, void *object);
static inline uint32_t mir_pool_used(const struct mir_pool *pool)
{
    return pool->used;
}
void mir_pool_fail_at(struct mir_pool *pool, uint64_t nth);

/* ---- views ------------------------------------------------------------------------------- */

/** Bytes [data, data+len) of @page, holding one reference (page NULL: empty view). */
struct mir_view {
    struct mir_io_page *page;
    const uint8_t *data;
    uint32_t len;
};

/** View of [offset, offset+len) of @page; takes a reference. Asserts that the range is inside. */
static inline struct mir_view mir_view_of_page(struct mir_io_page *page, uint32_t offset,
                                               uint32_t len)
{
    MIR_ASSERT_OP(offset, <=, page->size_bytes);
    MIR_ASSERT_OP(len, <=, page->size_bytes - offset);
    return (struct mir_view){mir_page_acquire(page), page->base + offset, len};
}

/** A part of a view with a reference of its own; never outside @view (asserted). */
static inline struct mir_view mir_view_sub(const struct mir_view *view, uint32_t offset,
                                           uint32_t len)
{
    MIR_ASSERT_OP(offset, <=, view->len);
    MIR_ASSERT_OP(len, <=, view->len - offset);
    return (struct mir_view){mir_page_acquire(view->page), view->data + offset, len};
}

/** Drop @len bytes at the front or the back; @len <= view->len (asserted). */
static inline void mir_view_shrink_front(struct mir_view *view, uint32_t len)
{
    MIR_ASSERT_OP(len, <=, view->len);
    view->data += len;
    view->len -= len;
}
static inline void mir_view_shrink_back(struct mir_view *view, uint32_t len)
{
    MIR_ASSERT_OP(len, <=, view->len);
    view->len -= len;
}

/** Give the reference back and empty the view. Harmless on an empty view. */
static inline void mir_view_release(struct mir_view *view)
{
    if (view->page != NULL)
        mir_page_release(view->page);
    view->page = NULL;
    view->data = NULL;
    view->len = 0;
}

/* ---- packet buffers ---------------------------------------------------------------------- */

/** Inline linear storage: room for Ethernet+VLAN, IPv6 with options, TCP with options. */
#define MIR_BUF_HEAD_BYTES 256u
/** Payload views of one packet: 17 pages and one more for an unaligned start. */
#define MIR_BUF_FRAG_MAX 18u
/** Head room that the layers below TCP and UDP need together. */
#define MIR_BUF_HEADROOM 96u

enum mir_buf_flags {
    /** In: a device says transport checksum was verified. */
    MIR_BUF_CSUM_VALID = 1,
    /** Out: store the checksum at csum_start + csum_offset; the field holds the pseudo-header
     *  sum. In: the same frame came from a local peer that left it so; the bytes are good. */
    MIR_BUF_CSUM_PARTIAL = 2,
    /** One TCP segment larger than the MTU; gso_size is the payload of each wire segment. */
    MIR_BUF_GSO_TCP4 = 4,
    MIR_BUF_GSO_TCP6 = 8,
    MIR_BUF_BROADCAST = 16, /**< in: link-layer broadcast */
    MIR_BUF_MULTICAST = 32, /**< in: link-layer multicast */
    /** Several UDP datagrams of gso_size payload each: inside devices only. */
    MIR_BUF_GSO_UDP = 64,
};

struct mir_buf_pool;

struct mir_buf {
    struct mir_buf *next; /**< queue link for whoever owns the buffer */
    uint8_t *data;        /**< first byte of the linear part */
    uint32_t len;         /**< bytes in the linear part */
    uint32_t frag_len;    /**< bytes in frag[] together */
    uint16_t flags;       /**< enum mir_buf_flags */
    uint16_t gso_size;
    uint16_t csum_start;  /**< offset from `data` at hand-over to the device */
    uint16_t csum_offset; /**< offset of the field from csum_start */
    uint8_t frag_count;
    uint8_t queue;           /**< device queue, 0 when there is one */
    uint16_t network_offset; /**< offset of the IP header from head-most byte `start` */
    /* private: */
    uint8_t *start;
    uint8_t *end;
    struct mir_io_page *page; /* NULL: linear part is head[] */
    struct mir_buf_pool *pool;
    struct mir_view frag[MIR_BUF_FRAG_MAX];
    uint8_t head[MIR_BUF_HEAD_BYTES] MIR_ALIGNED(16);
};

struct mir_buf_pool {
    struct mir_pool pool;
    struct mir_page_pool *pages;
};

/** A pool of at most @limit buffers whose pages come from @pages. Returns 0 or -MIR_EINVAL. */
int mir_buf_pool_init(struct mir_buf_pool *pool, struct mir_page_pool *pages,
                      uint32_t limit) MIR_CHECK;
/** All buffers must have been released. */
void mir_buf_pool_fini(struct mir_buf_pool *pool);

/**
 * mir_buf_alloc() - a packet buffer with inline storage.
 *
 * @headroom  0 .. MIR_BUF_HEAD_BYTES bytes kept free in front
 *
 * Returns NULL when the pool is at its limit (counted).
 * Cost    O(1); nothing is zeroed: whoever pushes or appends writes every byte
 * Source  none
 */
struct mir_buf *mir_buf_alloc(struct mir_buf_pool *pool, uint32_t headroom) MIR_CHECK;

/**
 * mir_buf_alloc_page() - a packet buffer whose linear part is a page run.
 *
 * @size_bytes  of the run, headroom included; 1 .. 17 pages
 *
 * Returns NULL when pages or buffers are at their limit (counted).
 * Source  none
 */
struct mir_buf *mir_buf_alloc_page(struct mir_buf_pool *pool, size_t size_bytes,
                                   uint32_t headroom) MIR_CHECK;

/** A buffer whose linear part is @view (given): a received frame in somebody's page. */
struct mir_buf *mir_buf_from_view(struct mir_buf_pool *pool,
                                  MIR_GIVE struct mir_view view_given) MIR_CHECK;

/** A buffer whose linear part is [offset, offset+len) of @page, of which nobody else holds a
 *  reference (given): what lies before and behind is head room and tail room. NULL as above. */
struct mir_buf *mir_buf_from_page(struct mir_buf_pool *pool,
                                  MIR_GIVE struct mir_io_page *page_given, uint32_t offset,
                                  uint32_t len) MIR_CHECK;

/** Release the buffer and every page it refers to. NULL is fine. */
void mir_buf_release(MIR_GIVE struct mir_buf *buf_given);

/** Bytes of the whole packet. */
static inline uint32_t mir_buf_total(const struct mir_buf *buf)
{
    return buf->len + buf->frag_len;
}
static inline uint32_t mir_buf_headroom(const struct mir_buf *buf)
{
    return (uint32_t)(buf->data - buf->start);
}
static inline uint32_t mir_buf_tailroom(const struct mir_buf *buf)
{
    return (uint32_t)(buf->end - (buf->data + buf->len));
}

/** Prepend @len bytes (undefined until written); asserts the head room. Returns the new front. */
static inline uint8_t *mir_buf_push(struct mir_buf *buf, uint32_t len)
{
    MIR_ASSERT_OP(len, <=, mir_buf_headroom(buf));
    buf->data -= len;
    buf->len += len;
    return buf->data;
}

/** Append @len undefined bytes to the linear part; asserts the tail room and that no view follows.
 *  Returns the first new byte. */
static inline uint8_t *mir_buf_append(struct mir_buf *buf, uint32_t len)
{
    uint8_t *tail = buf->data + buf->len;
    MIR_ASSERT_OP(len, <=, mir_buf_tailroom(buf));
    MIR_ASSERT_OP(buf->frag_count, ==, 0);
    buf->len += len;
    return tail;
}

/** Strip @len bytes at the front of the linear part; @len <= buf->len (asserted). */
static inline void mir_buf_pull(struct mir_buf *buf, uint32_t len)
{
    MIR_ASSERT_OP(len, <=, buf->len);
    buf->data += len;
    buf->len -= len;
}

/** Cut the packet to @total bytes, views included; @total <= mir_buf_total() (asserted). */
void mir_buf_trim(struct mir_buf *buf, uint32_t total);

/** Add a payload view at the end (given). Returns 0, or -MIR_ELIMIT (view released). */
static inline MIR_CHECK int mir_buf_add_view(struct mir_buf *buf,
                                             MIR_GIVE struct mir_view view_given)
{
    /* Devices need no empty views, and a total must fit its type. */
    bool is_over =
        buf->frag_count == MIR_BUF_FRAG_MAX || view_given.len > UINT32_MAX - mir_buf_total(buf);
    if (view_given.len == 0 || is_over) {
        int r = view_given.len == 0 ? 0 : -MIR_ELIMIT;
        mir_view_release(&view_given);
        return r;
    }
    buf->frag[buf->frag_count++] = view_given;
    buf->frag_len += view_given.len;
    return 0;
}

/** Copy @len bytes from @offset of the packet, views included. Returns 0 or -MIR_ERANGE. */
int mir_buf_copy_out(const struct mir_buf *buf, uint32_t offset, void *out, uint32_t len) MIR_CHECK;

/** A new buffer in @pool with the same bytes in one linear page run and the same offload fields.
 *  @buf is borrowed. Returns NULL without memory. */
struct mir_buf *mir_buf_linearize(struct mir_buf_pool *pool, const struct mir_buf *buf,
                                  uint32_t headroom) MIR_CHECK;

/** FIFO of buffers linked by `next`. */
struct mir_buf_queue {
    struct mir_buf *first;
    struct mir_buf *last;
    uint32_t count;
    uint32_t bytes;
};

/** Add at the end or in front (given); take from the front, NULL if empty; release all. */
void mir_buf_queue_push(struct mir_buf_queue *queue, MIR_GIVE struct mir_buf *buf_given);
void mir_buf_queue_push_front(struct mir_buf_queue *queue, MIR_GIVE struct mir_buf *buf_given);
struct mir_buf *mir_buf_queue_pop(struct mir_buf_queue *queue);
void mir_buf_queue_release(struct mir_buf_queue *queue);

#endif
