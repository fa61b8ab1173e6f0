/* SPDX-License-Identifier: ISC */
/* An image of target virt as an ELF file that unpacks itself.
 *
 *   x86-64    in memory: that of the image, nothing of it in the file; on a page behind it stub and
 *             packed bytes
 *   aarch64   stub and packed bytes, which move themselves behind the memory of the image: a Linux
 *             image of the packed one (objcopy -O binary) must begin with its header
 *
 * The stub is a section of the image that was linked (target/virt/ARCH/unpack.S). Loaders clear
 * what a segment has in memory beyond its bytes in the file; the image of x86-64 counts on that.
 * Nobody needs stub and packed bytes afterwards: to the image they are memory as any other.
 *
 * What was packed is unpacked again and compared before it is written. The result depends on the
 * image alone. It has no symbols and no debug information, for those there is the image. That of
 * aarch64 has sections, for objcopy; for x86-64 they would say nothing that GRUB or QEMU want, and
 * strip would lose the note.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/elf.h"
#include "cmd/mirari/pack.h"

#define PAGE     4096u
#define SECTIONS 4 /* none, packed, image, names */

/* Offsets in the stub. */
#define LINUX_SIZE   16 /* aarch64: bytes in memory */
#define PVH_NOTE     24 /* x86-64 */
#define PVH_ENTRY    40
#define FIELDS       64
#define CODE         128
#define CODE_ADDRESS 129 /* x86-64 */
#define PVH_NOTE_LEN 20

/* aarch64: so many bytes of the stub are moved at once. */
#define MOVED 16

/* What of an image is loaded: from @first, @bytes of the file and then zeros up to @end. */
struct loaded {
    struct str bytes;
    uint64_t first, end;
};

struct packed {
    const struct elf *elf;
    struct loaded image;
    struct str stub;  /* and the packed bytes behind it */
    uint64_t address; /* of the stub */
};

static uint64_t up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void put(struct str *text, size_t at, uint64_t value, size_t size)
{
    memcpy(text->data + at, &value, size); /* images are little endian, as is who makes them */
}

/* The segments of an image follow each other. Returns false if they do not, or are too many bytes.
 */
static bool take_loaded(const struct elf *elf, struct loaded *out)
{
    Elf64_Ehdr header;
    static const char zeros[PAGE];
    memcpy(&header, elf->bytes.data, sizeof(header));
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > elf->bytes.len ||
        header.e_phnum > (elf->bytes.len - header.e_phoff) / sizeof(Elf64_Phdr))
        return false;
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr s;
        memcpy(&s, elf->bytes.data + header.e_phoff + i * sizeof(s), sizeof(s));
        if (s.p_type != PT_LOAD)
            continue;
        if (out->end == 0)
            out->first = out->end = s.p_paddr;
        if (s.p_offset > elf->bytes.len || s.p_filesz > elf->bytes.len - s.p_offset ||
            s.p_paddr < out->first + out->bytes.len || s.p_paddr > out->first + 2 * PACK_MAX)
            return false;
        for (uint64_t gap = s.p_paddr - out->first - out->bytes.len; gap > 0 && s.p_filesz > 0;) {
            uint64_t n = gap < sizeof(zeros) ? gap : sizeof(zeros);
            str_add(&out->bytes, zeros, n);
            gap -= n;
        }
        str_add(&out->bytes, elf->bytes.data + s.p_offset, s.p_filesz);
        out->end = s.p_paddr + s.p_memsz;
    }
    return out->bytes.len > 0 && out->bytes.len <= PACK_MAX;
}

static void put_field(struct packed *p, unsigned n, uint64_t address)
{
    put(&p->stub, FIELDS + 8 * n, address, 8);
}

/* Bytes of the image in memory, on aarch64 up to where the stub moves itself to. */
static uint64_t image_size(const struct packed *p)
{
    uint64_t size = p->image.end - p->image.first;
    return p->elf->machine == EM_X86_64 ? size : up(size, PAGE);
}

/* The empty fields of the stub; addresses, or on aarch64 distances from the stub. */
static void fill_x86(struct packed *p, size_t begin)
{
    const struct loaded *image = &p->image;
    p->address = up(image->end, PAGE);
    put(&p->stub, PVH_ENTRY, p->address + CODE, 4);
    put(&p->stub, CODE_ADDRESS, p->address, 4);
    put_field(p, 0, p->address + begin);
    put_field(p, 1, p->address + p->stub.len);
    put_field(p, 2, image->first);
    put_field(p, 3, image->end);
    put_field(p, 4, p->elf->entry);
}

static void fill_aarch64(struct packed *p, size_t begin)
{
    uint64_t size = image_size(p);
    p->address = p->image.first;
    put_field(p, 2, begin);
    put_field(p, 3, p->stub.len);
    str_add(&p->stub, (char[MOVED]){0}, up(p->stub.len, MOVED) - p->stub.len);
    put_field(p, 0, size);
    put_field(p, 1, p->stub.len);
    put_field(p, 4, p->elf->entry - p->address);
    put(&p->stub, LINUX_SIZE, size + p->stub.len, 8);
}

static Elf64_Phdr load(uint64_t offset, uint64_t address, uint64_t file_size, uint64_t memory_size)
{
    return (Elf64_Phdr){.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_W | PF_X,
                        .p_offset = offset,
                        .p_vaddr = address,
                        .p_paddr = address,
                        .p_filesz = file_size,
                        .p_memsz = memory_size,
                        .p_align = 1};
}

/* Segments of @p in a file with @offset bytes before the stub; returns how many, at most 3. */
static size_t make_segments(const struct packed *p, uint64_t offset, Elf64_Phdr *out)
{
    const struct loaded *image = &p->image;
    uint64_t len = p->stub.len, size = image_size(p);
    if (p->elf->machine != EM_X86_64) {
        out[0] = load(offset, p->address, len, size + len);
        return 1;
    }
    out[0] = load(offset, image->first, 0, size);
    out[1] = load(offset, p->address, len, len);
    out[2] = load(offset + PVH_NOTE, p->address + PVH_NOTE, PVH_NOTE_LEN, PVH_NOTE_LEN);
    out[2].p_type = PT_NOTE;
    out[2].p_flags = PF_R;
    out[2].p_align = 4;
    return 3;
}

static void add_sections(const struct packed *p, uint64_t offset, struct str *out)
{
    static const char names[] = "\0.packed\0.image\0.shstrtab";
    uint64_t len = p->stub.len;
    Elf64_Shdr sections[SECTIONS] = {
        [1] = {.sh_name = 1,
               .sh_type = SHT_PROGBITS,
               .sh_flags = SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR,
               .sh_addr = p->address,
               .sh_offset = offset,
               .sh_size = len,
               .sh_addralign = 1},
        [2] = {.sh_name = 9,
               .sh_type = SHT_NOBITS,
               .sh_flags = SHF_ALLOC | SHF_WRITE,
               .sh_addr = p->address + len,
               .sh_offset = offset + len,
               .sh_size = image_size(p),
               .sh_addralign = 1},
        [3] = {.sh_name = 16,
               .sh_type = SHT_STRTAB,
               .sh_offset = out->len + sizeof(sections),
               .sh_size = sizeof(names),
               .sh_addralign = 1},
    };
    str_add(out, sections, sizeof(sections));
    str_add(out, names, sizeof(names));
}

static void emit(const struct packed *p, struct str *out)
{
    Elf64_Phdr segments[3];
    size_t count = make_segments(p, 0, segments);
    uint64_t offset = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr);
    Elf64_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = p->elf->machine,
                         .e_version = EV_CURRENT,
                         .e_entry = p->address + CODE,
                         .e_phoff = sizeof(header),
                         .e_ehsize = sizeof(header),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = (Elf64_Half)count,
                         .e_shentsize = sizeof(Elf64_Shdr)};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    if (p->elf->machine != EM_X86_64) {
        header.e_shoff = up(offset + p->stub.len, 8);
        header.e_shnum = SECTIONS;
        header.e_shstrndx = SECTIONS - 1;
    }
    (void)make_segments(p, offset, segments);
    str_add(out, &header, sizeof(header));
    str_add(out, segments, count * sizeof(*segments));
    str_add(out, p->stub.data, p->stub.len);
    if (header.e_shnum == 0)
        return;
    str_add(out, "\0\0\0\0\0\0\0", header.e_shoff - out->len);
    add_sections(p, offset, out);
}

/* @out is a file that unpacks itself, or empty: the image is too large, or not ours. */
static int pack(const struct elf *elf, const char *image, struct str *out)
{
    struct packed p = {.elf = elf};
    const struct elf_section *stub = elf_find(elf, ".debug_unpack");
    if (stub == NULL || stub->type == SHT_NOBITS || stub->size <= CODE_ADDRESS + 4 ||
        !take_loaded(elf, &p.image))
        return 0;
    struct str packed = {0};
    const unsigned char *bytes = (const unsigned char *)p.image.bytes.data;
    pack_bytes(bytes, p.image.bytes.len, &packed);
    bool is_good = pack_is(&packed, bytes, p.image.bytes.len);
    str_add(&p.stub, elf->bytes.data + stub->offset, stub->size);
    str_add(&p.stub, packed.data, packed.len);
    if (elf->machine == EM_X86_64)
        fill_x86(&p, stub->size);
    else
        fill_aarch64(&p, stub->size);
    if (is_good)
        emit(&p, out);
    else
        complain(
            "packing \"%s\" went wrong: what comes out is not what went in; the image itself is "
            "good",
            image);
    str_free(&packed);
    str_free(&p.stub);
    str_free(&p.image.bytes);
    return is_good ? 0 : EXIT_FAIL;
}

static bool is_newer(const char *path, const char *than)
{
    struct stat a, b;
    if (stat(path, &a) != 0 || stat(than, &b) != 0)
        return false;
    return a.st_mtim.tv_sec > b.st_mtim.tv_sec ||
           (a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec > b.st_mtim.tv_nsec);
}

int pack_image(const char *image)
{
    struct elf elf;
    struct str out = {0};
    bool changed;
    char *path = need_format("%s.packed", image);
    if (is_newer(path, image) && is_newer(path, "/proc/self/exe"))
        return 0;
    if (elf_open(image, &elf) != 0)
        return EXIT_FAIL;
    int r = pack(&elf, image, &out);
    /* Written anew even if it is the same, so that it is newer than what it was made of. */
    (void)unlink(path);
    int err = r == 0 && out.len > 0 ? file_write_if_changed(path, out.data, out.len, &changed) : 0;
    if (err != 0) {
        complain("cannot write \"%s\": %s", path, strerror(-err));
        r = EXIT_FAIL;
    }
    str_free(&out);
    elf_close(&elf);
    return r;
}
