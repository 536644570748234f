/*
 * Preloaded into virtiofsd where it runs as an ordinary user.
 *
 * overlayfs in the testbed opens the files below it with O_NOATIME. virtiofsd passes that on, and
 * the host's kernel refuses it (EPERM) for files that belong to somebody else: to an ordinary user,
 * nearly all of the system. The flag is a wish about time stamps on a tree that is read-only here
 * anyway, so it is left out.
 */
#define AT(name, ...)                                                                     \
	__attribute__((visibility("default"))) int name(int directory, const char *path,  \
							int flags, ##__VA_ARGS__)

extern int *__errno_location(void);

static int without_noatime(int directory, const char *path, int flags, int mode)
{
	enum { OPENAT = 257, O_NOATIME = 01000000 };
	long result;
	register long fourth __asm__("r10") = mode;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(OPENAT), "D"((long)directory), "S"(path),
			   "d"((long)(flags & ~O_NOATIME)), "r"(fourth)
			 : "rcx", "r11", "memory");
	if (result < 0) {
		*__errno_location() = (int)-result;
		return -1;
	}
	return (int)result;
}

/* The mode of a call that makes no file is garbage, and the kernel ignores it. */
AT(openat, int mode) { return without_noatime(directory, path, flags, mode); }
AT(openat64, int mode) { return without_noatime(directory, path, flags, mode); }
/* What fortified programs call when they make no file. */
AT(__openat_2) { return without_noatime(directory, path, flags, 0); }
AT(__openat64_2) { return without_noatime(directory, path, flags, 0); }
