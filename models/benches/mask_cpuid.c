// Answers CPUID as a CPU without AVX-512, AVX-VNNI, AVX10 and AMX would, for code whose CPUID instructions
// `compare` has replaced by bytes 27 27: no instruction in 64-bit mode, so they raise SIGILL, and no compiler
// writes them. Loading this library installs the handler.
#define _GNU_SOURCE  // names of registers
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum {
    // AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL
    LEAF7_EBX = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31,
    // AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    LEAF7_ECX = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14,
    // AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT; AMX-BF16; AVX-512 FP16; AMX-TILE, AMX-INT8
    LEAF7_EDX = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25,
    // AVX-VNNI, AVX-512 BF16, AMX-FP16, AVX-IFMA
    LEAF7_1_EAX = 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23,
    // AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10
    LEAF7_1_EDX = 1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19,
};

static void answer(int signal_number, siginfo_t *info, void *context) {
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (memcmp((const void *)registers[REG_RIP], "\x27\x27", 2) != 0) {
        signal(signal_number, SIG_DFL);  // a real illegal instruction: let it end the process
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, subleaf, a, b, c, d);
    if (leaf == 7 && subleaf == 0) {
        b &= ~(uint32_t)LEAF7_EBX;
        c &= ~(uint32_t)LEAF7_ECX;
        d &= ~(uint32_t)LEAF7_EDX;
    } else if (leaf == 7 && subleaf == 1) {
        a &= ~(uint32_t)LEAF7_1_EAX;
        d &= ~(uint32_t)LEAF7_1_EDX;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void install(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}
