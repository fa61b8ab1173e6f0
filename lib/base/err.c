/* SPDX-License-Identifier: ISC */
/* Texts of the error table in include/mirari/err.h. */
#include <mirari/base.h>
#include <mirari/err.h>

static const char *const texts[MIR_ERR_MAX] = {
#define MIR__X(name, number, text, posix) [MIR_##name] = (text),
    MIR_ERRORS(MIR__X)
#undef MIR__X
        [MIR_OK] = "success",
};

static const char *const names[MIR_ERR_MAX] = {
#define MIR__X(name, number, text, posix) [MIR_##name] = "MIR_" #name,
    MIR_ERRORS(MIR__X)
#undef MIR__X
        [MIR_OK] = "MIR_OK",
};

static const char *lookup(const char *const *table, int err, const char *fallback)
{
    unsigned index = err < 0 ? 0u - (unsigned)err : (unsigned)err;
    return index < MIR_ERR_MAX && table[index] != NULL ? table[index] : fallback;
}

const char *mir_strerror(int err)
{
    return lookup(texts, err, "unknown error");
}

const char *mir_errname(int err)
{
    return lookup(names, err, "MIR_?");
}
