/* Loads object files: see loader.h.
 *
 * The sections lie in one block, code first, so that 32-bit distances between them reach wherever the system puts the
 * block. It is written while nobody can execute it, and executable when nobody can write it. Functions of the C library
 * may be anywhere: they are called through jumps at the end of the code. Whatever the object says is checked against
 * its size, as it may come from a file. */
#define _GNU_SOURCE 1
#include "engine/vgpu/translate/loader.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { JUMP_BYTES = 16, NO_PLACE = 0 };

struct image {
  const unsigned char *object;
  size_t object_bytes;
  const Elf64_Ehdr *header;
  const Elf64_Shdr *sections;
  const Elf64_Sym *symbols;
  size_t symbol_count;
  const char *names; /* of symbols; ends with NUL */
  size_t names_bytes;
  size_t *place;      /* [e_shnum]: where a section lies in the block, from 1 on; NO_PLACE: nowhere */
  size_t jumps;       /* where the jumps to other libraries begin */
  size_t jump_count;  /* jumps made so far */
  size_t code_bytes;  /* whole pages */
  size_t total_bytes; /* whole pages */
  unsigned char *memory;
  char *reason;
  size_t reason_bytes;
};

static bool refuse(struct image *image, const char *what) {
  snprintf(image->reason, image->reason_bytes, "machine code cannot be loaded: %s", what);
  return false;
}

static bool inside(const struct image *image, uint64_t offset, uint64_t bytes) {
  return offset <= image->object_bytes && bytes <= image->object_bytes - offset;
}

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

/* ---- what the object holds ---- */

static bool read_header(struct image *image) {
  image->header = (const void *)image->object;
  const Elf64_Ehdr *header = image->header;
  if (image->object_bytes < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 || header->e_type != ET_REL ||
      header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shoff % _Alignof(Elf64_Shdr) != 0 ||
      !inside(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr))) {
    return refuse(image, "it is no object file for this processor");
  }
  image->sections = (const void *)(image->object + header->e_shoff);
  for (unsigned s = 0; s < header->e_shnum; s++) {
    const Elf64_Shdr *section = &image->sections[s];
    if (section->sh_type == SHT_NULL) continue;
    if (section->sh_offset % 8 != 0 && (section->sh_type == SHT_SYMTAB || section->sh_type == SHT_RELA)) {
      return refuse(image, "a table is not aligned");
    }
    if (section->sh_type != SHT_NOBITS && !inside(image, section->sh_offset, section->sh_size)) {
      return refuse(image, "a section goes beyond the end of the file");
    }
    if (section->sh_size > (uint64_t)1 << 30 || section->sh_addralign > 4096 ||
        (section->sh_addralign & (section->sh_addralign - 1)) != 0) {
      return refuse(image, "a section has an impossible size or alignment");
    }
    if (section->sh_type != SHT_SYMTAB) continue;
    if (section->sh_link >= header->e_shnum || image->symbols != NULL) return refuse(image, "its symbols are damaged");
    const Elf64_Shdr *strings = &image->sections[section->sh_link];
    if (strings->sh_type != SHT_STRTAB || !inside(image, strings->sh_offset, strings->sh_size) ||
        strings->sh_size == 0 || image->object[strings->sh_offset + strings->sh_size - 1] != '\0') {
      return refuse(image, "its symbols are damaged");
    }
    image->symbols = (const void *)(image->object + section->sh_offset);
    image->symbol_count = section->sh_size / sizeof(Elf64_Sym);
    image->names = (const char *)image->object + strings->sh_offset;
    image->names_bytes = strings->sh_size;
  }
  return image->symbols != NULL || refuse(image, "it has no symbols");
}

static const char *name_of(const struct image *image, const Elf64_Sym *symbol) {
  return symbol->st_name < image->names_bytes ? image->names + symbol->st_name : "";
}

/* ---- its place in memory ---- */

/* Unwinding tables stay out: nothing is thrown through kernels. */
static bool is_loaded(const Elf64_Shdr *section) {
  return (section->sh_flags & SHF_ALLOC) != 0 && section->sh_type == SHT_PROGBITS && section->sh_size > 0;
}

static bool lay_out(struct image *image) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t at = 0, outside = 0;
  for (int code = 1; code >= 0; code--) {
    for (unsigned s = 0; s < image->header->e_shnum; s++) {
      const Elf64_Shdr *section = &image->sections[s];
      if (!is_loaded(section) || ((section->sh_flags & SHF_EXECINSTR) != 0) != (code == 1)) {
        if ((section->sh_flags & SHF_ALLOC) != 0 && section->sh_type == SHT_NOBITS && section->sh_size > 0) {
          return refuse(image, "it has variables");
        }
        continue;
      }
      if ((section->sh_flags & SHF_WRITE) != 0) return refuse(image, "it has variables");
      if ((section->sh_flags & SHF_TLS) != 0) return refuse(image, "it has variables of threads");
      at = round_up(at, section->sh_addralign > 0 ? section->sh_addralign : 1);
      image->place[s] = at + 1;
      at += section->sh_size;
    }
    if (code == 0) break;
    for (size_t i = 0; i < image->symbol_count; i++) outside += image->symbols[i].st_shndx == SHN_UNDEF;
    image->jumps = round_up(at, JUMP_BYTES);
    at = image->code_bytes = round_up(image->jumps + outside * JUMP_BYTES, page);
  }
  image->total_bytes = round_up(at, page);
  return image->total_bytes > 0 || refuse(image, "it is empty");
}

/* A function of a library, through a jump in the block. 0: there is no such function. */
static uint64_t outside_address(struct image *image, const char *name) {
  void *function = dlsym(RTLD_DEFAULT, name);
  if (function == NULL || image->jumps + (image->jump_count + 1) * JUMP_BYTES > image->code_bytes) return 0;
  unsigned char *jump = image->memory + image->jumps + image->jump_count++ * JUMP_BYTES;
  static const unsigned char through_next[6] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
  memcpy(jump, through_next, sizeof through_next);
  memcpy(jump + sizeof through_next, &function, sizeof function);
  return (uint64_t)(uintptr_t)jump;
}

/* Addresses of all symbols, 0 for those that lie nowhere. */
static uint64_t *find_symbols(struct image *image) {
  uint64_t *address = calloc(image->symbol_count + 1, sizeof *address);
  for (size_t i = 1; address != NULL && i < image->symbol_count; i++) {
    const Elf64_Sym *symbol = &image->symbols[i];
    if (symbol->st_shndx == SHN_UNDEF) {
      address[i] = outside_address(image, name_of(image, symbol));
    } else if (symbol->st_shndx < image->header->e_shnum && image->place[symbol->st_shndx] != NO_PLACE &&
               symbol->st_value <= image->sections[symbol->st_shndx].sh_size) {
      address[i] = (uint64_t)(uintptr_t)(image->memory + image->place[symbol->st_shndx] - 1) + symbol->st_value;
    }
  }
  return address;
}

static bool relocate_one(struct image *image, const Elf64_Shdr *target, size_t place, const Elf64_Rela *entry,
                         const uint64_t *address) {
  const uint64_t type = ELF64_R_TYPE(entry->r_info), symbol = ELF64_R_SYM(entry->r_info);
  const size_t width = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
  if (symbol >= image->symbol_count || entry->r_offset > target->sh_size || width > target->sh_size - entry->r_offset) {
    return refuse(image, "a relocation is damaged");
  }
  if (address[symbol] == 0) {
    char what[160];
    snprintf(what, sizeof what, "no library has its function %.100s", name_of(image, &image->symbols[symbol]));
    return refuse(image, what);
  }
  unsigned char *at = image->memory + place + entry->r_offset;
  const uint64_t value = address[symbol] + (uint64_t)entry->r_addend, distance = value - (uint64_t)(uintptr_t)at;
  switch (type) {
    case R_X86_64_64:
      memcpy(at, &value, 8);
      return true;
    case R_X86_64_PC64:
      memcpy(at, &distance, 8);
      return true;
    case R_X86_64_PC32:
    case R_X86_64_PLT32: {
      const int32_t narrow = (int32_t)distance;
      if ((int64_t)distance != narrow) return refuse(image, "it is too large");
      memcpy(at, &narrow, 4);
      return true;
    }
    default:
      return refuse(image, "it has a relocation of another kind");
  }
}

static bool relocate(struct image *image, const uint64_t *address) {
  for (unsigned s = 0; s < image->header->e_shnum; s++) {
    const Elf64_Shdr *table = &image->sections[s];
    if (table->sh_type == SHT_REL) return refuse(image, "it has relocations without addends");
    if (table->sh_type != SHT_RELA || table->sh_info >= image->header->e_shnum) continue;
    if (image->place[table->sh_info] == NO_PLACE) continue;
    const Elf64_Rela *entries = (const void *)(image->object + table->sh_offset);
    for (size_t i = 0; i < table->sh_size / sizeof *entries; i++) {
      if (!relocate_one(image, &image->sections[table->sh_info], image->place[table->sh_info] - 1, &entries[i],
                        address)) {
        return false;
      }
    }
  }
  return true;
}

static bool bind_names(struct image *image, const uint64_t *address, const char *const *names, void **addresses,
                       unsigned count) {
  for (unsigned n = 0; n < count; n++) {
    addresses[n] = NULL;
    for (size_t i = 1; i < image->symbol_count; i++) {
      if (image->symbols[i].st_shndx == SHN_UNDEF || strcmp(name_of(image, &image->symbols[i]), names[n]) != 0)
        continue;
      addresses[n] = (void *)(uintptr_t)address[i];
    }
    if (addresses[n] == NULL) return refuse(image, "a symbol is missing");
  }
  return true;
}

bool loader_open(struct loaded *loaded, const unsigned char *object, size_t bytes, const char *const *names,
                 void **addresses, unsigned count, char *reason, size_t reason_bytes) {
  struct image image = {.object = object, .object_bytes = bytes, .reason = reason, .reason_bytes = reason_bytes};
  uint64_t *address = NULL;
  bool done = false;
  *loaded = (struct loaded){0};
  if (!read_header(&image)) return false;
  image.place = calloc(image.header->e_shnum + 1u, sizeof *image.place);
  if (image.place == NULL) return refuse(&image, "there is not enough memory");
  if (!lay_out(&image)) goto done;
  void *memory = mmap(NULL, image.total_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    refuse(&image, "there is not enough memory");
    goto done;
  }
  *loaded = (struct loaded){.memory = memory, .bytes = image.total_bytes};
  image.memory = memory;
  for (unsigned s = 0; s < image.header->e_shnum; s++) {
    if (image.place[s] == NO_PLACE) continue;
    memcpy(image.memory + image.place[s] - 1, object + image.sections[s].sh_offset, image.sections[s].sh_size);
  }
  address = find_symbols(&image);
  if (address == NULL) {
    refuse(&image, "there is not enough memory");
    goto done;
  }
  if (!relocate(&image, address) || !bind_names(&image, address, names, addresses, count)) goto done;
  done = mprotect(image.memory, image.code_bytes, PROT_READ | PROT_EXEC) == 0 &&
         (image.total_bytes == image.code_bytes ||
          mprotect(image.memory + image.code_bytes, image.total_bytes - image.code_bytes, PROT_READ) == 0);
  if (!done) refuse(&image, "the system does not let it be executed");
done:
  free(address);
  free(image.place);
  if (!done) loader_close(loaded);
  return done;
}

void loader_close(struct loaded *loaded) {
  if (loaded->memory != NULL) munmap(loaded->memory, loaded->bytes);
  *loaded = (struct loaded){0};
}
