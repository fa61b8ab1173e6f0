/* SPDX-License-Identifier: ISC */
/* The members of a tar archive, one after the other.
 *
 *   header 512 | contents, filled up to 512 | header | ... | zeroes 512 | zeroes 512
 *
 *   0    name 100             257  magic "ustar" NUL, version "00"; of GNU "ustar  " NUL
 *   124  size, octal 12       345  prefix 155: what comes before name and a slash; not of GNU
 *   136  time, octal 12       148  checksum, octal 8: sum of the header's bytes, these as blanks
 *   156  type: '0' or NUL a file, '7' the same, '5' a folder; 'x' and 'g' extended headers of pax,
 *        whose contents are lines "LENGTH KEY=VALUE\n"; 'L' and 'K' long names of GNU
 *
 * GNU tar writes its own format unless told otherwise, Python and `git archive` write pax: all
 * three are read. Numbers of more than 11 octal digits are in base 256, with the first bit set.
 *
 * An extended header is about the next member; its name, size and time are taken, what else it says
 * concerns owners and permissions. Global ones (git writes its commit there) may not name or size
 * anything. Sparse files are refused, since their bytes are not those of the file. So are links: a
 * store has no place for a name that is another one.
 *
 * The archive comes from a disk that anybody may have written. Every offset is checked against the
 * size of the source before it is used, and each step goes forward by at least a block, so a walk
 * ends after at most size / 512 steps whatever is in there.
 */
#include "dev/kv/tar/walk.h"

enum field {
    NAME_AT = 0,
    NAME_LEN = 100,
    SIZE_AT = 124,
    NUMBER_LEN = 12,
    TIME_AT = 136,
    SUM_AT = 148,
    SUM_LEN = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    MAGIC_LEN = 8,
    PREFIX_AT = 345,
    PREFIX_LEN = 155,
};

struct text {
    const char *at;
    size_t len;
};

static int refuse(struct mir__tar_walk *walk, int err, const char *why)
{
    walk->why = why;
    return err;
}

static bool text_is(struct text text, const char *other)
{
    return mir_str_len(other) == text.len && mir_memcmp(text.at, other, text.len) == 0;
}

/* Up to the first NUL. */
static struct text field_text(const uint8_t *at, size_t size)
{
    size_t len = 0;
    while (len < size && at[len] != '\0')
        len++;
    return (struct text){(const char *)at, len};
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool parse_binary(const uint8_t *at, size_t size, uint64_t *value)
{
    *value = at[0] & 0x7f;
    for (size_t i = 1; i < size; i++) {
        if (*value >> 55 != 0)
            return false;
        *value = *value << 8 | at[i];
    }
    return at[0] == 0x80; /* 0xff is a negative number */
}

/* Blanks, octal digits, then blanks or NUL to the end. */
static bool parse_number(const uint8_t *at, size_t size, uint64_t *value)
{
    size_t i = 0;
    if (at[0] & 0x80)
        return parse_binary(at, size, value);
    while (i < size && at[i] == ' ')
        i++;
    for (*value = 0; i < size && at[i] >= '0' && at[i] <= '7'; i++)
        *value = *value << 3 | (uint64_t)(at[i] - '0'); /* 12 digits at most: 36 bits */
    while (i < size && (at[i] == ' ' || at[i] == '\0'))
        i++;
    return i == size;
}

/* The digits at the beginning of @text; false without, or if they say too much. */
static bool take_decimal(struct text *text, uint64_t *value)
{
    size_t i = 0;
    for (*value = 0; i < text->len && text->at[i] >= '0' && text->at[i] <= '9'; i++) {
        if (*value > INT64_MAX / 10 - 1)
            return false;
        *value = *value * 10 + (uint64_t)(text->at[i] - '0');
    }
    *text = (struct text){text->at + i, text->len - i};
    return i > 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* Adds the parts of @name to the key. Parts "." and empty ones are left out, as "./index.html" has
 * them. */
static int add_name(struct mir__tar_walk *walk, struct text name)
{
    size_t i = 0;
    if (name.len > 0 && name.at[0] == '/' && walk->key_len == 0)
        return refuse(walk, -MIR_EMALFORMED, "a name begins with a slash");
    while (i < name.len) {
        size_t len = 0;
        const char *part = name.at + i;
        while (i + len < name.len && part[len] != '/') {
            if ((uint8_t)part[len] < 0x20 || part[len] == 0x7f)
                return refuse(walk, -MIR_EMALFORMED, "a control character in a name");
            len++;
        }
        i += len + 1;
        if (len == 0 || (len == 1 && part[0] == '.'))
            continue;
        if (len == 2 && part[0] == '.' && part[1] == '.')
            return refuse(walk, -MIR_EMALFORMED, "\"..\" in a name");
        if (walk->key_len + len + 1 > MIR__KV_KEY_MAX)
            return refuse(walk, -MIR_ETOOBIG, "a name is longer than 1,024 bytes");
        if (walk->key_len > 0)
            walk->key[walk->key_len++] = '/';
        mir_memcpy(walk->key + walk->key_len, part, len);
        walk->key_len += (uint32_t)len;
    }
    walk->key[walk->key_len] = '\0';
    return 0;
}

static int set_name(struct mir__tar_walk *walk, struct text name)
{
    walk->key_len = 0;
    walk->has_key = true;
    return add_name(walk, name);
}

/* As in a folder of the host: what begins with a dot is not served. */
static bool is_hidden(const struct mir__tar_walk *walk)
{
    for (uint32_t i = 0; i < walk->key_len; i++) {
        if (walk->key[i] == '.' && (i == 0 || walk->key[i - 1] == '/'))
            return true;
    }
    return false;
}

/* ---- extended headers ----------------------------------------------------------------------- */

static int take_record(struct mir__tar_walk *walk, struct text key, struct text value,
                       bool is_global)
{
    static const char sparse[] = "GNU.sparse.";
    bool is_name = text_is(key, "path"), is_size = text_is(key, "size");
    if (key.len >= sizeof sparse - 1 && mir_memcmp(key.at, sparse, sizeof sparse - 1) == 0)
        return refuse(walk, -MIR_ENOTSUP, "a sparse file; make the archive without --sparse");
    if (is_global && (is_name || is_size))
        return refuse(walk, -MIR_ENOTSUP, "a global header names or sizes all files");
    if (is_name)
        return set_name(walk, value);
    if (is_size) {
        walk->has_size = take_decimal(&value, &walk->size_bytes) && value.len == 0;
        if (!walk->has_size)
            return refuse(walk, -MIR_EMALFORMED, "an extended header's size is no number");
    } else if (text_is(key, "mtime") && !is_global) {
        /* Fractions of seconds, and times before 1970, are of no use. */
        walk->has_time = true;
        if (!take_decimal(&value, &walk->modified_s))
            walk->modified_s = 0;
    }
    return 0;
}

/* "LENGTH KEY=VALUE\n", where LENGTH is that of the whole record. */
static int take_records(struct mir__tar_walk *walk, struct text body, bool is_global)
{
    int r = 0;
    while (body.len > 0 && r == 0) {
        uint64_t len;
        struct text rest = body;
        bool good = take_decimal(&rest, &len) && len <= body.len && rest.len > 0 &&
                    rest.at[0] == ' ' && len > body.len - rest.len + 2 && body.at[len - 1] == '\n';
        if (!good)
            return refuse(walk, -MIR_EMALFORMED, "an extended header has a bad record");
        struct text record = {rest.at + 1, (size_t)len - (body.len - rest.len) - 2}, key = record;
        key.len = 0;
        while (key.len < record.len && record.at[key.len] != '=')
            key.len++;
        if (key.len == 0 || key.len == record.len)
            return refuse(walk, -MIR_EMALFORMED, "an extended header has a record without a key");
        struct text value = {record.at + key.len + 1, record.len - key.len - 1};
        r = take_record(walk, key, value, is_global);
        body = (struct text){body.at + len, body.len - (size_t)len};
    }
    return r;
}

static int take_extended(struct mir__tar_walk *walk, uint8_t type, uint64_t offset, uint64_t size)
{
    const uint8_t *bytes;
    if (size > MIR__TAR_EXTENDED_MAX)
        return refuse(walk, -MIR_ETOOBIG, "an extended header is longer than 32 KiB");
    if (type == 'K' || size == 0)
        return 0;
    int r = walk->source->read(walk->source, offset, (uint32_t)size, &bytes);
    if (r < 0)
        return r;
    if (type == 'L')
        return set_name(walk, field_text(bytes, (size_t)size));
    return take_records(walk, (struct text){(const char *)bytes, (size_t)size}, type == 'g');
}

/* ---- headers -------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *block)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < MIR__TAR_BLOCK; i++)
        any |= block[i];
    return any == 0;
}

/* A copy: the bytes may come from memory that a device can still write to. */
static int read_block(struct mir__tar_walk *walk, uint8_t block[MIR__TAR_BLOCK])
{
    const uint8_t *bytes;
    uint64_t size = walk->source->size_bytes;
    if (size < MIR__TAR_BLOCK || walk->at > size - MIR__TAR_BLOCK)
        return refuse(walk, -MIR_ETRUNCATED, "the archive ends without its end mark");
    int r = walk->source->read(walk->source, walk->at, MIR__TAR_BLOCK, &bytes);
    if (r == 0) {
        mir_memcpy(block, bytes, MIR__TAR_BLOCK);
        walk->at += MIR__TAR_BLOCK;
    }
    return r;
}

static int check_end(struct mir__tar_walk *walk)
{
    uint8_t block[MIR__TAR_BLOCK];
    int r = read_block(walk, block);
    if (r < 0)
        return r;
    return is_zero(block) ? -MIR_EEOF
                          : refuse(walk, -MIR_EMALFORMED, "a block of zeroes between files");
}

static int check_header(struct mir__tar_walk *walk, const uint8_t *header)
{
    uint64_t told;
    uint32_t sum = 0;
    struct text magic = {(const char *)header + MAGIC_AT, MAGIC_LEN};
    bool is_gnu = mir_memcmp(magic.at, "ustar  ", MAGIC_LEN) == 0;
    if (!is_gnu && mir_memcmp(magic.at, "ustar", 6) != 0)
        return refuse(walk, -MIR_EMALFORMED,
                      walk->at == MIR__TAR_BLOCK
                          ? "no tar archive; if it is compressed, unpack it first"
                          : "no header of a file where one has to be");
    for (uint32_t i = 0; i < MIR__TAR_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : header[i];
    if (!parse_number(header + SUM_AT, SUM_LEN, &told) || told != sum)
        return refuse(walk, -MIR_ECHECKSUM, "the checksum of a header is wrong");
    return 0;
}

static int name_of_header(struct mir__tar_walk *walk, const uint8_t *header)
{
    bool has_prefix = header[MAGIC_AT + 5] == '\0';
    struct text prefix = field_text(header + PREFIX_AT, has_prefix ? PREFIX_LEN : 0);
    int r = set_name(walk, prefix);
    if (r == 0)
        r = add_name(walk, field_text(header + NAME_AT, NAME_LEN));
    return r;
}

static int end_member(struct mir__tar_walk *walk, const uint8_t *header, uint64_t size,
                      struct mir__tar_member *member)
{
    uint64_t seconds = walk->modified_s;
    uint8_t type = header[TYPE_AT];
    int r = walk->has_key ? 0 : name_of_header(walk, header);
    if (r < 0)
        return r;
    if (!walk->has_time && !parse_number(header + TIME_AT, NUMBER_LEN, &seconds))
        seconds = 0;
    bool is_file = type == '0' || type == '\0' || type == '7';
    if (!is_file && type != '5')
        return refuse(walk, -MIR_ENOTSUP,
                      type == '1' || type == '2'
                          ? "a link; make the archive with --dereference --hard-dereference"
                          : "neither a file nor a folder");
    if (is_file && walk->key_len == 0)
        return refuse(walk, -MIR_EMALFORMED, "a file without a name");
    *member = (struct mir__tar_member){.offset = walk->at,
                                       .size_bytes = is_file ? size : 0,
                                       .modified_s = seconds,
                                       .key = walk->key,
                                       .key_len = walk->key_len,
                                       .is_file = is_file && !is_hidden(walk)};
    walk->has_key = walk->has_size = walk->has_time = false;
    return 0;
}

void mir__tar_walk_init(struct mir__tar_walk *walk, struct mir__tar_source *source)
{
    walk->source = source;
    walk->at = 0;
    walk->why = NULL;
    walk->key_len = 0;
    walk->key[0] = '\0';
    walk->has_key = walk->has_size = walk->has_time = false;
    walk->size_bytes = walk->modified_s = 0;
}

/* One header: 1 if it was an extended one, 0 with a member, or an error. */
static int step(struct mir__tar_walk *walk, struct mir__tar_member *member)
{
    uint8_t header[MIR__TAR_BLOCK];
    uint64_t size;
    if (!walk->has_key)
        walk->key_len = 0;
    int r = read_block(walk, header);
    if (r == 0 && is_zero(header))
        return check_end(walk);
    if (r == 0)
        r = check_header(walk, header);
    if (r < 0)
        return r;
    uint8_t type = header[TYPE_AT];
    bool is_extended = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!parse_number(header + SIZE_AT, NUMBER_LEN, &size))
        return refuse(walk, -MIR_EMALFORMED, "the size of a file is no number");
    if (walk->has_size && !is_extended)
        size = walk->size_bytes;
    uint64_t left = walk->source->size_bytes - walk->at;
    if (type != '5' && size > left)
        return refuse(walk, -MIR_ETRUNCATED, "the archive ends inside a file");
    r = is_extended ? take_extended(walk, type, walk->at, size)
                    : end_member(walk, header, size, member);
    if (r < 0)
        return r;
    if (type != '5')
        walk->at += MIR_MIN(left, (size + MIR__TAR_BLOCK - 1) / MIR__TAR_BLOCK * MIR__TAR_BLOCK);
    return is_extended;
}

int mir__tar_next(struct mir__tar_walk *walk, struct mir__tar_member *member)
{
    int r;
    while ((r = step(walk, member)) == 1) {
    }
    return r;
}
