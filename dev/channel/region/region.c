/* SPDX-License-Identifier: ISC */
/* Channels in shared memory that several parties have: who meets whom, where.
 *
 *   page 0   board: what there is; who is in; a word for each slot
 *   page 1   slot 0: the pages of one channel, its first page first
 *   ...      slot 1, slot 2 ... all of one size
 *
 * A slot's word goes round by compare and swap, so that two who want the same do not both get it,
 * and whoever dies leaves it in a state from which the keeper can bring it on:
 *
 *            server                 server                 client
 *   free ------------> CLAIMED ------------> OFFERED ------------> TAKEN
 *     ^  generation + 1  pages are filled                 | each end that closes or dies
 *     |                                                   v
 *     +------------------------- both ---------- NO_SERVER, NO_CLIENT
 *
 * A server that leaves before a client came frees its slot. The generation makes sure that an end
 * that is late does not touch what is somebody else's by now.
 *
 * References are numbers of pages in the region, and those of a channel must lie in its slot,
 * beside each other. The client's first page is the slot's first, whatever anybody says.
 *
 * Distrust. What the board says about sizes is read once, when a region is opened. A word can be
 * anything: it is read once for each decision, and only its state and the two numbers are used; a
 * number is only ever rung. A peer that writes nonsense there can end channels, as it can spoil
 * their bytes, but it leads nobody outside the region.
 *
 * Events. A bell has no name on it: who hears it looks at all of its ends. An end whose word is not
 * what it was, but for its state, is not ours any more: its peer is gone.
 *
 * Limits: slots are equal; one bell for all channels of a peer.
 */
#include "dev/channel/region/region.h"

#define STATE 0xffull

_Static_assert(offsetof(struct mir_region_board, name) == 32, "as documented");
_Static_assert(offsetof(struct mir_region_board, peer) == 64, "as documented");
_Static_assert(offsetof(struct mir_region_board, slot) == 320, "as documented");
_Static_assert(sizeof(struct mir_region_board) <= MIR_CHANNEL_PAGE, "one page");

static struct mir_region_end *of_channel(struct mir_channel *channel)
{
    return MIR_CONTAINER_OF(channel, struct mir_region_end, channel);
}

/* ---- words of slots ---------------------------------------------------------------------------
 */

static uint64_t load(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static bool swap(uint64_t *at, uint64_t *old, uint64_t fresh)
{
    return __atomic_compare_exchange_n(at, old, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint32_t server_of(uint64_t word)
{
    return (uint32_t)(word >> 32 & 0xffff);
}

static uint32_t client_of(uint64_t word)
{
    return (uint32_t)(word >> 48);
}

static uint64_t make_word(uint32_t client, uint32_t server, uint64_t generation, uint64_t state)
{
    return (uint64_t)client << 48 | (uint64_t)server << 32 | (generation & 0xffff) << 16 | state;
}

static uint64_t generation_of(uint64_t word)
{
    return word >> 16 & 0xffff;
}

/* What a word becomes when one end of it has gone. */
static uint64_t without(uint64_t word, bool is_server)
{
    const uint64_t free_word = make_word(0, 0, generation_of(word), 0);
    if (!(word & MIR_REGION_TAKEN))
        return is_server ? free_word : word;
    word |= is_server ? MIR_REGION_NO_SERVER : MIR_REGION_NO_CLIENT;
    bool is_empty = (word & MIR_REGION_NO_SERVER) && (word & MIR_REGION_NO_CLIENT);
    return is_empty ? free_word : word;
}

/* All channels of @peer lose that end. Returns how many there were. */
static uint32_t end_all(struct mir_region_board *board, uint32_t slots, uint32_t peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t *at = &board->slot[i].word, old = load(at), fresh;
        bool is_one;
        do {
            bool is_used = (old & STATE) != 0;
            bool is_server = is_used && server_of(old) == peer && !(old & MIR_REGION_NO_SERVER);
            bool is_client =
                (old & MIR_REGION_TAKEN) && client_of(old) == peer && !(old & MIR_REGION_NO_CLIENT);
            is_one = is_server || is_client;
            fresh = is_server ? without(old, true) : old;
            fresh = is_client && (fresh & STATE) != 0 ? without(fresh, false) : fresh;
        } while (is_one && !swap(at, &old, fresh));
        count += is_one;
    }
    return count;
}

/* ---- keeper ------------------------------------------------------------------------------------
 */

int mir_region_make(void *memory, uint64_t bytes, uint32_t slots, const char *name)
{
    struct mir_region_board *board = memory;
    size_t len = mir_str_len(name);
    if (bytes < MIR_REGION_BYTES_MIN || bytes > MIR_REGION_BYTES_MAX ||
        (bytes & (bytes - 1)) != 0 || slots == 0 || slots > MIR_REGION_SLOTS_MAX ||
        len > MIR_REGION_NAME_MAX)
        return -MIR_EINVAL;
    uint32_t pages = (uint32_t)(bytes / MIR_CHANNEL_PAGE), each = (pages - 1) / slots;
    if (each < 2)
        return -MIR_EINVAL;
    mir_memcpy(board->magic, MIR_REGION_MAGIC, sizeof board->magic);
    mir_memcpy(board->name, name, len);
    board->version = MIR_REGION_VERSION;
    board->pages = pages;
    board->slot_count = slots;
    board->slot_pages = each;
    board->slot_first = 1;
    return 0;
}

int mir_region_admit(void *memory, uint32_t peer, uint32_t pid)
{
    struct mir_region_board *board = memory;
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        if (__atomic_load_n(&board->peer[i].number, __ATOMIC_RELAXED) != 0)
            continue;
        __atomic_store_n(&board->peer[i].pid, pid, __ATOMIC_RELAXED);
        __atomic_store_n(&board->peer[i].number, peer + 1, __ATOMIC_RELEASE);
        return 0;
    }
    return -MIR_ELIMIT;
}

uint32_t mir_region_bury(void *memory, uint32_t peer)
{
    struct mir_region_board *board = memory;
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        if (__atomic_load_n(&board->peer[i].number, __ATOMIC_RELAXED) == peer + 1)
            __atomic_store_n(&board->peer[i].number, 0, __ATOMIC_RELEASE);
    }
    return end_all(board, MIR_REGION_SLOTS_MAX, peer);
}

/* ---- a peer ------------------------------------------------------------------------------------
 */

int mir_region_open(struct mir_region *region, const struct mir_region_config *config)
{
    struct mir_region_board *board = config->memory, copy;
    if (config->bytes < MIR_REGION_BYTES_MIN)
        return -MIR_EPROTO;
    mir_memcpy(&copy, board, offsetof(struct mir_region_board, name));
    __asm__ volatile("" : : "r"(&copy) : "memory");
    if (mir_memcmp(copy.magic, MIR_REGION_MAGIC, sizeof copy.magic) != 0)
        return -MIR_EPROTO;
    if (copy.version != MIR_REGION_VERSION)
        return -MIR_ENOTSUP;
    uint64_t end = copy.slot_first + (uint64_t)copy.slot_count * copy.slot_pages;
    if (copy.slot_count == 0 || copy.slot_count > MIR_REGION_SLOTS_MAX || copy.slot_pages == 0 ||
        copy.slot_first == 0 || end > config->bytes / MIR_CHANNEL_PAGE)
        return -MIR_EPROTO;
    *region = (struct mir_region){
        .config = *config,
        .board = board,
        .slot_count = copy.slot_count,
        .slot_pages = copy.slot_pages,
        .slot_first = copy.slot_first,
    };
    mir_list_init(&region->ends);
    (void)end_all(board, region->slot_count, config->self);
    return 0;
}

static void ring(struct mir_region *region, uint32_t peer)
{
    region->stats.rung++;
    region->config.ring(region->config.ring_arg, peer);
}

/* What concerns those who have no channel yet. */
static void ring_all(struct mir_region *region)
{
    for (uint32_t i = 0; i < MIR_REGION_PEERS_MAX; i++) {
        uint32_t number = __atomic_load_n(&region->board->peer[i].number, __ATOMIC_RELAXED);
        if (number != 0 && number - 1 != region->config.self && number - 1 <= 0xffff)
            ring(region, number - 1);
    }
}

static uint64_t *word_at(const struct mir_region_end *end)
{
    return &end->region->board->slot[end->slot].word;
}

static uint8_t *page_at(const struct mir_region *region, uint32_t page)
{
    return (uint8_t *)region->board + (size_t)page * MIR_CHANNEL_PAGE;
}

static uint32_t first_page(const struct mir_region_end *end)
{
    return end->region->slot_first + end->slot * end->region->slot_pages;
}

/* ---- events ------------------------------------------------------------------------------------
 */

/* Read the word once: has a client come, has the peer gone? */
static void look_at_word(struct mir_region_end *end, uint64_t word)
{
    bool is_server = end->channel.is_server, is_ours;
    uint64_t state = word & STATE;
    if (is_server && end->peer == MIR_REGION_NO_PEER && (state & MIR_REGION_TAKEN)) {
        end->peer = client_of(word);
        end->word = make_word(end->peer, server_of(end->word), generation_of(end->word), 0);
    }
    is_ours = (word & ~STATE) == end->word && state != 0;
    if (end->channel.is_peer_gone ||
        (is_ours && !(state & (is_server ? MIR_REGION_NO_CLIENT : MIR_REGION_NO_SERVER))))
        return;
    end->channel.is_peer_gone = true;
    end->region->stats.ended += end->peer != MIR_REGION_NO_PEER;
}

bool mir_region_is_taken(struct mir_region_end *end)
{
    if (end->peer == MIR_REGION_NO_PEER && end->is_open)
        look_at_word(end, load(word_at(end)));
    return end->peer != MIR_REGION_NO_PEER;
}

static bool has_moved(struct mir_region_end *end, uint64_t word)
{
    const uint64_t *page = (const uint64_t *)(const void *)page_at(end->region, first_page(end));
    bool is_moved = word != end->seen_word;
    end->seen_word = word;
    for (unsigned i = 0; i < MIR_ARRAY_LEN(end->seen); i++) {
        uint64_t value = __atomic_load_n(&page[i], __ATOMIC_ACQUIRE);
        is_moved |= value != end->seen[i];
        end->seen[i] = value;
    }
    return is_moved;
}

/* Ends may be closed by the events of any. */
static bool visit(struct mir_region *region, bool is_rung)
{
    bool is_any = false;
    for (struct mir_list *at = region->ends.next; at != &region->ends; at = region->cursor) {
        struct mir_region_end *end = MIR_CONTAINER_OF(at, struct mir_region_end, link);
        region->cursor = at->next;
        uint64_t word = load(word_at(end));
        bool is_moved = has_moved(end, word);
        if (!is_moved && !is_rung)
            continue;
        is_any = true;
        look_at_word(end, region->is_lost ? 0 : word);
        if (end->channel.event != NULL)
            end->channel.event(end->channel.arg);
    }
    region->cursor = NULL;
    return is_any;
}

void mir_region_heard(struct mir_region *region)
{
    region->stats.heard++;
    (void)visit(region, true);
    if (region->config.changed != NULL)
        region->config.changed(region->config.arg);
}

bool mir_region_poll(struct mir_region *region)
{
    return visit(region, false);
}

void mir_region_lose(struct mir_region *region)
{
    region->is_lost = true;
    mir_region_heard(region);
}

/* ---- the channel -------------------------------------------------------------------------------
 */

static int region_share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    struct mir_region_end *end = of_channel(channel);
    uint32_t first = first_page(end) + end->used;
    if (count > end->region->slot_pages - end->used)
        return -MIR_ELIMIT;
    uint8_t *memory = page_at(end->region, first);
    mir_memset(memory, 0, (size_t)count * MIR_CHANNEL_PAGE);
    for (uint32_t i = 0; i < count; i++)
        refs[i] = first + i;
    end->used += count;
    *at = memory;
    return 0;
}

static int region_publish(struct mir_channel *channel, uint32_t ref)
{
    struct mir_region_end *end = of_channel(channel);
    uint64_t old = end->word | MIR_REGION_CLAIMED;
    MIR_ASSERT_OP(ref, ==, first_page(end));
    if (!swap(word_at(end), &old, end->word | MIR_REGION_OFFERED))
        return -MIR_EIO;
    end->seen_word = end->word | MIR_REGION_OFFERED;
    ring_all(end->region);
    return 0;
}

static int region_map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    struct mir_region_end *end = of_channel(channel);
    uint32_t first = first_page(end), pages = end->region->slot_pages, begin = refs[0];
    if (begin < first || begin - first >= pages || count > pages - (begin - first))
        return -MIR_EINVAL;
    for (uint32_t i = 1; i < count; i++)
        if (refs[i] != begin + i)
            return -MIR_EINVAL;
    *at = page_at(end->region, begin);
    return 0;
}

static void region_notify(struct mir_channel *channel)
{
    struct mir_region_end *end = of_channel(channel);
    if (mir_region_is_taken(end) && !channel->is_peer_gone)
        ring(end->region, end->peer);
}

/* What is ours in the word goes. */
static void leave(struct mir_region_end *end)
{
    uint64_t *at = word_at(end), old = load(at);
    bool is_mine;
    do {
        /* A client may have come in this moment. */
        uint64_t who = end->peer == MIR_REGION_NO_PEER && (old & MIR_REGION_TAKEN)
                           ? make_word(client_of(old), 0, 0, 0)
                           : 0;
        is_mine = (old & STATE) != 0 && (old & ~STATE) == (end->word | who);
    } while (is_mine && !swap(at, &old, without(old, end->channel.is_server)));
}

static void region_close(struct mir_channel *channel)
{
    struct mir_region_end *end = of_channel(channel);
    if (!end->is_open)
        return;
    if (end->region->cursor == &end->link)
        end->region->cursor = end->link.next;
    mir_list_remove(&end->link);
    end->is_open = false;
    leave(end);
    ring_all(end->region);
}

static const struct mir_channel_ops region_ops = {
    .share = region_share,
    .publish = region_publish,
    .map = region_map,
    .notify = region_notify,
    .close = region_close,
};

static void init(struct mir_region_end *end, struct mir_region *region, uint32_t slot,
                 uint64_t word)
{
    bool is_server = (word & MIR_REGION_CLAIMED) != 0;
    *end = (struct mir_region_end){
        .channel = {.ops = &region_ops, .kind = "region", .is_server = is_server},
        .region = region,
        .slot = slot,
        .word = word & ~STATE,
        .peer = is_server ? MIR_REGION_NO_PEER : server_of(word),
        .seen_word = word,
        .is_open = true,
    };
    end->channel.page_ref = first_page(end);
    mir_list_push_back(&region->ends, &end->link);
}

int mir_region_offer(struct mir_region *region, struct mir_region_end *end)
{
    if (region->is_lost)
        return -MIR_ENOTCONN;
    for (uint32_t i = 0; i < region->slot_count; i++) {
        uint64_t old = load(&region->board->slot[i].word);
        uint64_t fresh =
            make_word(0, region->config.self, generation_of(old) + 1, MIR_REGION_CLAIMED);
        if ((old & STATE) != 0 || !swap(&region->board->slot[i].word, &old, fresh))
            continue;
        init(end, region, i, fresh);
        region->stats.offered++;
        return 0;
    }
    region->stats.refused++;
    return -MIR_ELIMIT;
}

int mir_region_take(struct mir_region *region, struct mir_region_end *end)
{
    uint32_t self = region->config.self;
    if (region->is_lost)
        return -MIR_ENOTCONN;
    for (uint32_t i = 0; i < region->slot_count; i++) {
        uint64_t old = load(&region->board->slot[i].word);
        if ((old & STATE) != MIR_REGION_OFFERED || server_of(old) == self)
            continue;
        uint64_t fresh = make_word(self, server_of(old), generation_of(old), MIR_REGION_TAKEN);
        if (!swap(&region->board->slot[i].word, &old, fresh))
            continue;
        init(end, region, i, fresh);
        region->stats.taken++;
        ring(region, end->peer);
        return 0;
    }
    return -MIR_EAGAIN;
}

void mir_region_close(struct mir_region *region)
{
    while (region->ends.next != &region->ends)
        region_close(&MIR_CONTAINER_OF(region->ends.next, struct mir_region_end, link)->channel);
}
