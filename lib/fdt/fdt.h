/* SPDX-License-Identifier: ISC */
/* Reads a flattened device tree: what a boot loader says about the machine. Read only, no memory
 * of its own, everything checked against the size that the caller vouches for.
 *
 *   struct mir__fdt fdt;
 *   struct mir__fdt_walk walk;
 *   if (mir__fdt_open(&fdt, blob, size) == 0) {
 *       mir__fdt_walk(&walk, &fdt);
 *       while (mir__fdt_next(&walk)) {
 *           if (mir__fdt_is(&walk, "virtio,mmio") && mir__fdt_reg(&walk, 0, &address, &len) == 0)
 *               ...
 *       }
 *   }
 *
 * Functions about "the node" mean the one that the walk stands on. Order as in the tree: parents
 * before children.
 */
#ifndef LIB_FDT_FDT_H
#define LIB_FDT_FDT_H

#include <mirari/base.h>
#include <mirari/err.h>

/** Nodes below one another, the root counted. A deeper tree is refused. */
#define MIR__FDT_DEPTH_MAX 16u
/** Bytes of the header: enough of a blob to learn its size. */
#define MIR__FDT_HEADER_BYTES 40u

/** A tree that was checked. */
struct mir__fdt {
    const uint8_t *blob;
    uint32_t size;
    uint32_t struct_at, struct_end;   /* offsets of the structure block */
    uint32_t strings_at, strings_end; /* names of properties */
    uint32_t reserve_at;              /* memory reservations */
    uint32_t reserve_count;
};

/** Where a walk is, and what nodes above say about addresses. */
struct mir__fdt_walk {
    const struct mir__fdt *fdt;
    uint32_t at;      /* private: token to read next */
    uint32_t node;    /* private: first token of the node's properties */
    unsigned depth;   /**< 1 = the root; 0 = before the first node */
    const char *name; /**< of the node, with its unit address; "" = the root */
    struct {
        uint8_t address_cells, size_cells; /* of the node's children */
        bool is_translated;                /* their addresses are not those of the processor */
    } level[MIR__FDT_DEPTH_MAX + 1];
};

/** A value of a property: [len] bytes in the blob. */
struct mir__fdt_value {
    const uint8_t *data;
    uint32_t len;
};

/**
 * mir__fdt_size() - the size a blob says it has, to be judged before it is opened.
 *
 * @header  [MIR__FDT_HEADER_BYTES] bytes
 *
 * Returns 0 with *@size, or -MIR_EMALFORMED: not a device tree.
 * Source  Devicetree Specification 0.4, section 5.2 (header)
 */
int mir__fdt_size(const uint8_t *header, uint32_t *size) MIR_CHECK;

/**
 * mir__fdt_open() - check a blob from end to end.
 *
 * @blob  [size] bytes, borrowed for as long as @fdt is used; any alignment
 *
 * After success no later call can leave the blob.
 * Returns 0, -MIR_ETRUNCATED (it says that it is larger than @size), -MIR_ENOTSUP (version before
 *         16 or not compatible with 17), -MIR_ELIMIT (too deep), -MIR_EMALFORMED.
 * Cost    one pass over the blob.
 * Source  Devicetree Specification 0.4, sections 5.2 to 5.5
 */
int mir__fdt_open(struct mir__fdt *fdt, const void *blob, size_t size) MIR_CHECK;

/**
 * mir__fdt_reserved() - the memory reservation number @index.
 *
 * Returns true, or false: there are not so many.
 * Source  Devicetree Specification 0.4, section 5.3 (memory reservation block)
 */
bool mir__fdt_reserved(const struct mir__fdt *fdt, uint32_t index, uint64_t *address,
                       uint64_t *len);

/** Begin a walk over all nodes. */
void mir__fdt_walk(struct mir__fdt_walk *walk, const struct mir__fdt *fdt);

/**
 * mir__fdt_next() - the next node, depth first.
 *
 * Returns true, or false at the end.
 * Source  Devicetree Specification 0.4, section 5.4 (structure block)
 */
bool mir__fdt_next(struct mir__fdt_walk *walk);

/**
 * mir__fdt_find() - walk to the node with an absolute path.
 *
 * @path  [len] bytes such as "/chosen" or "/pl011@9000000"; a component without a unit address
 *        means the first of that name
 *
 * Returns 0, or -MIR_ENOENT.
 * Source  Devicetree Specification 0.4, section 2.2.3 (path names)
 */
int mir__fdt_find(struct mir__fdt_walk *walk, const struct mir__fdt *fdt, const char *path,
                  size_t len) MIR_CHECK;

/**
 * mir__fdt_find_phandle() - walk to the node that others call by a number.
 *
 * Returns 0, or -MIR_ENOENT.
 * Source  Devicetree Specification 0.4, section 2.3.3 (phandle)
 */
int mir__fdt_find_phandle(struct mir__fdt_walk *walk, const struct mir__fdt *fdt,
                          uint32_t phandle) MIR_CHECK;

/**
 * mir__fdt_property() - a property of the node.
 *
 * Returns 0 with *@value, or -MIR_ENOENT.
 * Source  Devicetree Specification 0.4, section 5.4.1 (FDT_PROP)
 */
int mir__fdt_property(const struct mir__fdt_walk *walk, const char *name,
                      struct mir__fdt_value *value) MIR_CHECK;

/** The 32-bit number @index of a property. 0, or -MIR_ENOENT. */
int mir__fdt_cell(const struct mir__fdt_walk *walk, const char *name, uint32_t index,
                  uint32_t *cell) MIR_CHECK;

/** The 32-bit number @index of a value; the caller knows that it is long enough. */
uint32_t mir__fdt_value_cell(const struct mir__fdt_value *value, uint32_t index);

/**
 * mir__fdt_text() - a property that is one text.
 *
 * Returns 0 with *@text, NUL-terminated inside the blob; -MIR_ENOENT; -MIR_EMALFORMED.
 * Source  Devicetree Specification 0.4, section 2.2.4 (string)
 */
int mir__fdt_text(const struct mir__fdt_walk *walk, const char *name, const char **text) MIR_CHECK;

/**
 * mir__fdt_is() - is the node compatible with @what, and not switched off?
 *
 * Source  Devicetree Specification 0.4, sections 2.3.1 (compatible) and 2.3.4 (status)
 * Returns true if so.
 */
bool mir__fdt_is(const struct mir__fdt_walk *walk, const char *what);

/**
 * mir__fdt_reg() - range number @index of the node's registers or memory.
 *
 * Returns 0, -MIR_ENOENT: not so many ranges; -MIR_ENOTSUP: the bus translates addresses, or an
 *         address has more than 64 bits; -MIR_ERANGE: it wraps around.
 * Source  Devicetree Specification 0.4, sections 2.3.5, 2.3.6, 2.3.8 (cells, reg, ranges)
 */
int mir__fdt_reg(const struct mir__fdt_walk *walk, uint32_t index, uint64_t *address,
                 uint64_t *len) MIR_CHECK;

#endif
